"""A headless run on the sample: what it leaves, read back, and that the pieces agree."""

import json
import os
import re
import shutil
import sys

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
from conftest import HOME, KEYS
from helpers import (
    EMOTIONS,
    MINILM,
    NO_HUB,
    NOTEBOOK,
    SAMPLE,
    clean_environment,
    execute,
    outputs,
    papermill,
    wandb_inspect,
    wandb_summary,
)
from PIL import Image
from sklearn import metrics as sk
from transformers import pipeline

FIGURES = ["training_curves", "confusion_matrix", "calibration"]


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
    for split in ("test", "baseline", "difference"):
        intervals = record[split]["intervals"]
        assert {*intervals, "intervals"} == {*record[split]}
        assert all(low <= high for low, high in intervals.values())


def test_saved_model_gives_the_predictions(sample_run, record, predictions):
    """Predicted in float32, as pipeline() does, which cuts a text where training cut it."""
    folder = sample_run.results / "model"
    assert {file.suffix for file in folder.iterdir()} <= {".json", ".safetensors", ".txt", ".md"}
    classify = pipeline("text-classification", model=str(folder), top_k=None)
    answers = classify(predictions["text"].tolist(), truncation=True)
    answered = pd.DataFrame([{a["label"]: a["score"] for a in s} for s in answers])[EMOTIONS]
    np.testing.assert_allclose(answered, predictions[EMOTIONS], atol=1e-4)
    cut = classify.tokenizer("word " * 600, truncation=True)["input_ids"]
    assert len(cut) == record["parameters"]["max_length"]


def test_figures_are_drawn(sample_run):
    for name in FIGURES:
        pixels = np.asarray(Image.open(sample_run.results / "figures" / f"{name}.png").convert("L"))
        assert min(pixels.shape) >= 500 and 0.02 < (pixels < 250).mean() < 0.9
    assert outputs(sample_run.notebook).count("image/png") == len(FIGURES)


def test_says_that_it_is_the_sample(sample_run, record, tracked):
    assert record["inputs"]["dataset_name"] == "tests/sample" and "SAMPLE" in record["note"]
    assert "MiniLM" in record["inputs"]["model_name"] and tracked["notes"] == record["note"]
    assert "SAMPLE: not dair-ai/emotion" in outputs(sample_run.notebook)
    assert not list((sample_run.folder / "out").glob("*.json")), "in a folder of its own"
    card = huggingface_hub.ModelCard.load(sample_run.results / "model/README.md")
    assert card.data.base_model is None, "a package, no repository on the Hub"
    assert f"{record['test']['accuracy']:.3f}" in card.text and record["note"] in card.text


def test_captions_name_data_model_seed_and_note(notebook, setup):
    import matplotlib.pyplot as plt

    cells = notebook.run("imports", "style", **setup, is_sample=True, data_path=SAMPLE)
    for note, last_line in (("SAMPLE", "\nSAMPLE"), (None, "")):
        cells["note"], figure = note, plt.figure()
        cells["keep_figure"](figure, "x.png", "Title", "5 texts")
        assert figure.get_suptitle() == "Title" and cells["figures"] == {"x.png": figure}
        caption = f"tests/sample, 5 texts | all-MiniLM-L6-v2, seed 42{last_line}"
        assert figure.get_supxlabel() == caption


def test_wandb_record_agrees_with_metrics_json(sample_run, record, tracked):
    """Grouped by recipe. Nothing of validation stands under test, in summary or history."""
    assert tracked["state"] == "finished" and tracked["exit_code"] == 0
    summary, config = tracked["summary"], tracked["config"]
    for name, (low, high) in record["test"]["intervals"].items():
        found = [summary[f"test/{name}{end}"] for end in ("", "_low", "_high")]
        assert found == pytest.approx([record["test"][name], low, high])
        assert summary[f"validation/{name}"] == pytest.approx(record["validation"][name])
    assert summary["best_epoch"] == record["best_epoch"]
    assert record["parameters"].items() <= config.items(), "flat, and not the Trainer's own"
    for name in ("inputs", "environment"):
        assert config[name] == record[name]
    assert summary["test/mistakes"]["nrows"] == sum(map(sum, record["confusion_matrix"]))
    assert {f"figures/{name}" for name in FIGURES} <= set(summary)
    assert {f"test/{plot}_table" for plot in ("confusion_matrix", "roc")} <= set(summary)
    shown = wandb_inspect(sample_run.wandb_folder)
    history = "".join(line for line in shown.splitlines() if '"type":"history"' in line)
    for name in ("loss", "learning_rate", "grad_norm"):
        assert len(re.findall(f'"train/{name}":', history)) >= 5
    for name in ("loss", "accuracy", "macro_f1"):
        assert len(re.findall(f'"eval/{name}":', history)) == record["parameters"]["num_epochs"]
    assert f'"run_group":"all-MiniLM-L6-v2 sqrt {record["recipe"]}"' in shown
    assert '"display_name":"all-MiniLM-L6-v2 sqrt seed 42"' in shown


def test_nothing_left_tells_a_key(sample_run):
    """Nor does what the notebook itself writes tell the name of the home folder."""
    files = [file for file in sample_run.folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".ipynb", ".json", ".wandb", ".csv", ".safetensors"}
    for file in files:
        content = file.read_bytes()
        assert not [name for name, key in KEYS.items() if key.encode() in content], file
        if "wandb" not in file.relative_to(sample_run.folder).parts:
            assert HOME.encode() not in content, file


def test_no_fallback_stops_before_training(tmp_path):
    with pytest.raises(AssertionError) as failed:  # papermill's, with its last words
        papermill(tmp_path, {**NO_HUB, "WANDB_MODE": "disabled"}, offline_fallback=False)
    assert not (tmp_path / "out").exists()
    for word in ("ConnectionError", "HF_ENDPOINT", "HF_HOME", "dair-ai/emotion"):
        assert word in str(failed.value)


@pytest.mark.slow
def test_script_from_standard_input(sample_run, tmp_path):
    """Without a kernel's history, without a file: the same predictions as papermill's."""
    shutil.copytree(SAMPLE, tmp_path / "tests" / "sample")
    environment = clean_environment(tmp_path, {**NO_HUB, "WANDB_MODE": "offline"})
    convert = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "script", "--stdout", NOTEBOOK]
    execute([sys.executable, "-"], environment, tmp_path, execute(convert, os.environ).stdout)
    ours = tmp_path / "outputs" / "sample" / "predictions.csv"
    assert ours.read_bytes() == (sample_run.results / "predictions.csv").read_bytes()


@pytest.mark.slow
def test_a_hundred_classes_with_odd_names(tmp_path, minilm_folder):
    """Nothing after training loses the results; validation and test lack two of the classes."""
    names = ["__label__red", "$$", "高兴", "зелёный", *(f"class number {n}" for n in range(116))]
    for split, copies in {"train": 3, "validation": 1, "test": 1}.items():
        rows = [(f"{split} {copy} of {name}", name) for copy in range(copies) for name in names]
        lacking = names[-2:] if split != "train" else ()
        rows = pd.DataFrame([r for r in rows if r[1] not in lacking], columns=["text", "label"])
        (tmp_path / "data").mkdir(exist_ok=True)
        rows.to_csv(tmp_path / "data" / f"{split}.csv", index=False)
    own = {"dataset_name": tmp_path / "data", "model_name": minilm_folder, "num_epochs": 1}
    papermill(tmp_path, {**NO_HUB, "WANDB_MODE": "offline"}, **own)
    record = (tmp_path / "out" / "metrics.json").read_text(encoding="utf-8")
    assert "NaN" not in record and json.loads(record)["rows"]["test"] == 118
    assert len(list((tmp_path / "out" / "figures").glob("*.png"))) == len(FIGURES)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (curves,) = folder.rglob("roc_table*.json")
    drawn = {row[0] for row in json.loads(curves.read_text())["data"]}
    assert drawn <= {*names[:-2]} and "__label__red" in drawn


COLOURS = {"зелёный": "the grass", "красный": "a rose", "синий": "the sea"}


@pytest.mark.slow
def test_own_data(real_data, tmp_path):
    """Own texts and classes, a model of the Hub by its name alone, with adapters."""
    names = [*COLOURS] * 80
    texts = [f"{COLOURS[name]} I saw {number} times" for number, name in enumerate(names)]
    pd.DataFrame({"review": texts, "kind": names}).to_csv(tmp_path / "own (1).csv", index=False)
    own = {"dataset_name": tmp_path / "own (1).csv", "text_column": "review"}
    own |= {"label_column": "kind", "model_name": MINILM["model_name"]}
    recipe = {"learning_rate": 1e-3, "num_epochs": 1, "lora_rank": 4}
    environment = {"HF_ENDPOINT": huggingface_hub.constants.ENDPOINT, "WANDB_MODE": "disabled"}
    finished = papermill(tmp_path, environment, **recipe, **own)
    shown = outputs(finished.notebook)
    assert "No validation split" in shown and "No test split" in shown
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert list(predictions)[3:] == sorted(COLOURS)
    answers = pipeline("text-classification", model=str(tmp_path / "out" / "model"))
    answered = [answer["label"] for answer in answers(predictions["text"].tolist())]
    assert answered == predictions["predicted"].tolist(), "its adapters are merged"
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert record["inputs"]["model_revision"] == MINILM["model_revision"]
