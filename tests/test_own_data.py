"""Own data from the first cell to the last, on an encoder of the Hub: tables, figures, model."""

import json

import pandas as pd
import pytest
from conftest import outputs, papermill
from transformers import pipeline

pytestmark = pytest.mark.hub
MINILM = {
    "model_name": "sentence-transformers/all-MiniLM-L6-v2",
    "model_revision": "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
    "learning_rate": 1e-3,
    "num_epochs": 1,
}
COLOURS = {"зелёный": "the grass", "красный": "a rose", "синий": "the sea"}
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TWENTY = {str(n): f"{DIGITS[n // 10]} {DIGITS[n % 10]}" for n in range(20)}


@pytest.mark.parametrize(("classes", "lora_rank"), [(COLOURS, 4), (TWENTY, 0)])
def test_whole_run(hub, tmp_path, classes, lora_rank):
    names = [*classes] * (240 // len(classes))
    texts = [f"{classes[name]} I saw {number} times" for number, name in enumerate(names)]
    pd.DataFrame({"review": texts, "kind": names}).to_csv(tmp_path / "own.csv", index=False)
    own = {"dataset_name": tmp_path / "own.csv", "text_column": "review", "label_column": "kind"}
    environment = {"HF_ENDPOINT": hub, "WANDB_MODE": "disabled"}
    finished = papermill(tmp_path, environment, **MINILM, **own, lora_rank=lora_rank)
    assert finished.returncode == 0, finished.stderr[-3000:]

    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(record["test"]["per_class"]) == list(classes), "named as in the data"
    assert len(list((tmp_path / "figures").glob("*.png"))) == 6
    shown = outputs(finished.notebook)
    assert "There is no validation split" in shown and "There is no test split" in shown
    assert not [name for name in ("sadness", "surprise") if name in shown]
    assert "Glyph" not in shown and "Warning" not in shown, "every script is drawn"

    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv", dtype={"predicted": str})
    assert list(predictions)[3:] == list(classes)
    answers = pipeline("text-classification", model=str(tmp_path / "out" / "model"))
    answered = [answer["label"] for answer in answers(predictions["text"].tolist())]
    agree = (predictions["predicted"] == pd.Series(answered)).mean()
    assert agree > 0.9, "the saved model, its adapters merged, is the one evaluated"
