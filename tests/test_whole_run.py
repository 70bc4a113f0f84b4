"""A headless run on the sample: what it leaves, read back, and that the pieces agree."""

import json
import platform
import sys

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
from conftest import SECRETS
from helpers import (
    EMOTIONS,
    MINILM,
    NO_HUB,
    SAMPLE,
    outputs,
    papermill,
    wandb_inspect,
    wandb_summary,
)
from PIL import Image
from sklearn import metrics as sk
from transformers import pipeline

FIGURES = ["class_distribution", "token_lengths", "training_curves", "confusion_matrix"]
FIGURES += ["precision_recall", "calibration"]


@pytest.fixture(scope="module")
def record(sample_run):
    return json.loads((sample_run.results / "metrics.json").read_text())


@pytest.fixture(scope="module")
def predictions(sample_run):
    return pd.read_csv(sample_run.results / "predictions.csv")


@pytest.fixture(scope="module")
def tracked(sample_run):
    return wandb_summary(sample_run.wandb_folder)


def test_runs_from_top_to_bottom(sample_run):
    """The original stopped with a NameError."""
    code = [cell for cell in sample_run.notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    shown = [output for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert shown == []


def test_predictions_line_up_with_the_test_texts(predictions):
    """Batches of similar length must not reorder what is predicted."""
    test = pd.read_csv(SAMPLE / "test.csv")
    assert list(predictions) == ["text", "label", "predicted", *EMOTIONS]
    pd.testing.assert_frame_equal(predictions[["text", "label"]], test[["text", "label"]])


def test_metrics_are_those_of_the_predictions(record, predictions):
    assert record["test"]["accuracy"] > 0.5, "it learns: a third of the sample is joy"
    assert record["test"]["macro_roc_auc"] > 0.8
    probabilities = predictions[EMOTIONS].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert predictions["predicted"].tolist() == [EMOTIONS[i] for i in probabilities.argmax(axis=1)]
    labels, test = predictions["label"].map(EMOTIONS.index).to_numpy(), record["test"]
    right = (predictions["label"] == predictions["predicted"]).mean()
    assert test["accuracy"] == pytest.approx(right)
    auc = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="weighted")
    assert test["weighted_roc_auc"] == pytest.approx(auc)
    confusion = sk.confusion_matrix(predictions["label"], predictions["predicted"], labels=EMOTIONS)
    assert record["confusion_matrix"] == confusion.tolist()
    for split in ("validation", "test", "baseline"):
        intervals = record[split].pop("intervals")
        assert intervals.keys() == record[split].keys()
        assert all(low <= high for low, high in intervals.values())


def test_saved_model_gives_the_predictions(sample_run, record, predictions):
    """pipeline() computes in float32; bfloat16 keeps 8 bits of each number."""
    folder = sample_run.results / "model"
    assert {file.suffix for file in folder.iterdir()} <= {".json", ".safetensors", ".txt", ".md"}
    classify = pipeline("text-classification", model=str(folder), top_k=None)
    answers = [{a["label"]: a["score"] for a in s} for s in classify(predictions["text"].tolist())]
    tolerance = {"fp32": 1e-4, "bf16": 1e-2}[record["environment"]["precision"]]
    answered = pd.DataFrame(answers)[EMOTIONS]
    np.testing.assert_allclose(answered, predictions[EMOTIONS], atol=tolerance)


def test_figures_are_drawn(sample_run):
    for name in FIGURES:
        path = sample_run.folder / "figures" / "sample" / f"{name}.png"
        pixels = np.asarray(Image.open(path).convert("L"))
        assert min(pixels.shape) >= 500 and 0.02 < (pixels < 250).mean() < 0.9
    assert outputs(sample_run.notebook).count("image/png") == len(FIGURES)


def test_says_that_it_is_the_sample(sample_run, record, tracked):
    assert record["inputs"]["dataset_name"] == "tests/sample" and "SAMPLE" in record["note"]
    assert "MiniLM" in record["inputs"]["model_name"] and tracked["notes"] == record["note"]
    assert "SAMPLE: not dair-ai/emotion" in outputs(sample_run.notebook)
    assert not list((sample_run.folder / "out").glob("*.json")), "in folders of its own"
    assert not list((sample_run.folder / "figures").glob("*.png"))


def test_captions_name_data_model_and_note(notebook, setup):
    import matplotlib.pyplot as plt

    given = {"sources": {"model_name": "m", "dataset_name": "d"}, "note": "SAMPLE"}
    cells = notebook.run("keep-figure", **setup, **given)
    figure = plt.figure()
    cells["keep_figure"](figure, "x.png", "Title")
    assert (figure.get_suptitle(), figure.get_supxlabel()) == ("Title", "d | m\nSAMPLE")
    cells["keep_figure"](figure, "x.png", "Title", model=False)
    assert figure.get_supxlabel() == "d\nSAMPLE"


def test_wandb_record_agrees_with_metrics_json(record, tracked):
    assert tracked["state"] == "finished" and tracked["exit_code"] == 0
    summary, config = tracked["summary"], tracked["config"]
    for name in record["test"].keys() - {"intervals"}:
        assert summary[f"test/{name}"] == pytest.approx(record["test"][name])
    for name in ("parameters", "inputs", "environment"):
        assert config[name] == record[name]
    assert {"train/loss", "eval/loss", "eval/macro_f1", "train/learning_rate"} <= set(summary)
    assert summary["test_predictions"]["nrows"] == sum(map(sum, record["confusion_matrix"]))
    assert {f"figures/{name}.png" for name in FIGURES} <= set(summary)
    plots = ("confusion_matrix", "roc_curves", "precision_recall")
    assert {f"{plot}_table" for plot in plots} <= set(summary)
    assert "train_samples_per_second" in summary


def test_wandb_groups_by_recipe_and_knows_the_data(sample_run, record):
    shown = wandb_inspect(sample_run.wandb_folder)
    assert f'"run_group":"all-MiniLM-L6-v2 {record["recipe"]}"' in shown
    artifacts = [line for line in shown.splitlines() if '"type":"artifact"' in line]
    assert any(record["inputs"]["dataset_sha256"] in line for line in artifacts)


def test_model_card(sample_run, record):
    card = huggingface_hub.ModelCard.load(sample_run.results / "model/README.md")
    assert card.data.base_model == "all-MiniLM-L6-v2"
    assert f"{record['test']['accuracy']:.3f}" in card.text and record["note"] in card.text


def test_nothing_left_tells_a_secret(sample_run):
    """No key, token, user name or home folder in notebook, metrics, model or W&B record."""
    files = [file for file in sample_run.folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".ipynb", ".json", ".wandb", ".csv", ".safetensors"}
    for file in files:
        content = file.read_bytes()
        assert not [name for name, secret in SECRETS.items() if secret.encode() in content], file
    record = wandb_inspect(sample_run.wandb_folder)
    assert not [word for word in (platform.node(), sys.prefix) if f'"{word}' in record]


def test_no_fallback_stops_before_training(tmp_path):
    environment = {**NO_HUB, "WANDB_MODE": "disabled"}
    finished = papermill(tmp_path, environment, offline_fallback=False)
    assert finished.returncode != 0 and not (tmp_path / "out").exists()
    for word in ("ConnectionError", "HF_ENDPOINT", "HF_HOME", "dair-ai/emotion"):
        assert word in finished.stderr


COLOURS = {"зелёный": "the grass", "красный": "a rose", "синий": "the sea"}
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TWENTY = {str(n): f"{DIGITS[n // 10]} {DIGITS[n % 10]}" for n in range(20)}


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "lora_rank"), [(COLOURS, 4), (TWENTY, 0)])
def test_own_data(real_data, tmp_path, classes, lora_rank):
    """Own texts and classes, a model of the Hub, with adapters and without."""
    names = [*classes] * (240 // len(classes))
    texts = [f"{classes[name]} I saw {number} times" for number, name in enumerate(names)]
    pd.DataFrame({"review": texts, "kind": names}).to_csv(tmp_path / "own.csv", index=False)
    own = {"dataset_name": tmp_path / "own.csv", "text_column": "review", "label_column": "kind"}
    recipe = {**MINILM, "learning_rate": 1e-3, "num_epochs": 1, "lora_rank": lora_rank}
    environment = {"HF_ENDPOINT": huggingface_hub.constants.ENDPOINT, "WANDB_MODE": "disabled"}
    finished = papermill(tmp_path, environment, **recipe, **own)
    assert finished.returncode == 0, finished.stderr[-3000:]
    shown = outputs(finished.notebook)
    assert "No validation split" in shown and "No test split" in shown
    assert "Glyph" not in shown, "every script is drawn"
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv", dtype={"predicted": str})
    assert list(predictions)[3:] == list(classes)
    answers = pipeline("text-classification", model=str(tmp_path / "out" / "model"))
    answered = [answer["label"] for answer in answers(predictions["text"].tolist())]
    agree = (predictions["predicted"] == pd.Series(answered)).mean()
    assert agree > 0.9, "the saved model, its adapters merged, is the one evaluated"
