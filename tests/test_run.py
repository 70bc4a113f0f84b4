"""A headless run on the sample: what it leaves, read back, and that the pieces agree."""

import itertools
import json
import platform
import sys

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
from conftest import EMOTIONS as NAMES
from conftest import (
    NO_HUB,
    ROOT,
    SECRETS,
    outputs,
    papermill,
    wandb_inspect,
    wandb_records,
    wandb_summary,
)
from PIL import Image
from sklearn import metrics as sk

METRICS = [
    "accuracy",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
    "macro_f1",
    "weighted_roc_auc",
    "macro_roc_auc",
    "log_loss",
    "expected_calibration_error",
]
FIGURES = [
    "class_distribution.png",
    "token_lengths.png",
    "training_curves.png",
    "confusion_matrix.png",
    "roc_curves.png",
    "calibration.png",
]


@pytest.fixture(scope="module")
def record(sample_run):
    return json.loads((sample_run.folder / "out" / "sample" / "metrics.json").read_text())


@pytest.fixture(scope="module")
def predictions(sample_run):
    return pd.read_csv(sample_run.folder / "out" / "sample" / "predictions.csv")


@pytest.fixture(scope="module")
def tracked(sample_run):
    return wandb_summary(sample_run.wandb_folder)


def test_runs_from_top_to_bottom(sample_run):
    """The original stopped with a NameError."""
    code = [cell for cell in sample_run.notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert "Warning" not in outputs(sample_run.notebook)


def test_metrics_json(record):
    assert set(record) >= {"inputs", "parameters", "environment", "train", "validation", "test"}
    assert set(record["inputs"]) == {
        *("model_name", "model_revision", "dataset_name", "dataset_revision"),
        *("dataset_fingerprint", "offline_fallback"),
    }
    assert set(record["environment"]) == {"python", "packages", "device", "precision", "processes"}
    assert record["train"]["rows"] == 438 and list(record["train"]["class_weights"]) == NAMES
    assert record["train"]["epochs"] == 3 and 1 <= record["train"]["best_epoch"] <= 3
    for measure in ("seconds", "samples_per_second", "peak_memory_bytes"):
        assert record["train"][measure] > 0
    for split, rows in (("validation", 94), ("test", 95), ("baseline", 95)):
        assert record[split]["rows"] == rows
        assert set(METRICS) <= set(record[split])
    for split in ("test", "baseline"):
        assert np.sum(record[split]["confusion_matrix"]) == 95
        assert list(record[split]["per_class"]) == NAMES
        for name in METRICS:
            low, high = record[split]["intervals"][name]
            assert low <= high
    assert record["parameters"]["num_epochs"] == 3


def test_it_learns(record):
    """A third of the sample is joy: a model that has learnt nothing stays there."""
    assert record["test"]["accuracy"] > 0.5
    assert record["test"]["macro_roc_auc"] > 0.8


def test_class_weights_are_those_of_the_train_split(record):
    counts = pd.read_csv(ROOT / "tests/sample/train.csv")["label"].value_counts()
    expected = {name: 438 / (6 * counts[name]) for name in NAMES}
    assert record["train"]["class_weights"] == pytest.approx(expected)


def test_predictions_line_up_with_the_test_texts(predictions):
    """Training groups texts by length, which must not reorder what is predicted."""
    test = pd.read_csv(ROOT / "tests/sample/test.csv")
    assert list(predictions) == ["text", "label", "predicted", *NAMES]
    assert predictions["text"].tolist() == test["text"].tolist()
    assert predictions["label"].tolist() == test["label"].tolist()


def test_metrics_are_those_of_the_predictions(record, predictions):
    probabilities = predictions[NAMES].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    labels = predictions["label"].map(NAMES.index).to_numpy()
    assert predictions["predicted"].tolist() == [NAMES[i] for i in probabilities.argmax(axis=1)]
    test = record["test"]
    assert test["accuracy"] == pytest.approx(
        (predictions["label"] == predictions["predicted"]).mean()
    )
    auc = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="weighted")
    assert test["weighted_roc_auc"] == pytest.approx(auc)
    matrix = sk.confusion_matrix(predictions["label"], predictions["predicted"], labels=NAMES)
    assert test["confusion_matrix"] == matrix.tolist()


def test_saved_model_gives_the_predictions(sample_run, record, predictions):
    """pipeline() computes in float32; bfloat16 keeps 8 bits of each number."""
    tolerance = {"fp32": 1e-4, "bf16": 1e-2}[record["environment"]["precision"]]
    from transformers import pipeline

    folder = sample_run.folder / "out" / "sample" / "model"
    assert {file.suffix for file in folder.iterdir()} <= {".json", ".safetensors", ".txt", ".md"}
    answers = pipeline("text-classification", model=str(folder))(
        predictions["text"].tolist(), top_k=None
    )
    answered = pd.DataFrame([{a["label"]: a["score"] for a in scores} for scores in answers])
    np.testing.assert_allclose(answered[NAMES], predictions[NAMES], atol=tolerance)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_drawn(sample_run, name):
    pixels = np.asarray(Image.open(sample_run.folder / "figures" / "sample" / name).convert("L"))
    assert min(pixels.shape) >= 500
    assert 0.02 < (pixels < 250).mean() < 0.9


def test_one_picture_a_figure_in_the_notebook(sample_run):
    """And one of the probabilities of a text, which Jupyter redraws as one types."""
    assert outputs(sample_run.notebook).count("image/png") == len(FIGURES) + 1


def test_says_loudly_that_it_is_the_sample(sample_run, record, tracked):
    assert record["inputs"]["offline_fallback"] is True
    assert "MiniLM" in record["inputs"]["model_name"] and "SAMPLE" in record["note"]
    assert "# SAMPLE: not DistilBERT" in outputs(sample_run.notebook)
    assert {"sample", "not-distilbert"} <= set(tracked["tags"])
    assert not list((sample_run.folder / "out").glob("*.json"))
    assert not list((sample_run.folder / "figures").glob("*.png"))


def test_every_figure_title_names_the_sample(notebook, imports):
    import matplotlib.pyplot as plt

    given = {"inputs": {"model_name": "m", "dataset_name": "d"}, "note": "SAMPLE"}
    cells = notebook.run("keep-figure", **{**imports, **given})
    figure = plt.figure()
    cells["keep_figure"](figure, "x.png", "Title")
    assert figure.get_suptitle().splitlines() == ["Title", "m on d", "SAMPLE"]
    drawn = [c for c in notebook.content.cells if "plt.subplots" in c.source]
    kept = [cell.source for cell in drawn if cell.id != "try-it"]  # its title is tested below
    assert len(kept) == len(FIGURES) and all("keep_figure(figure, " in source for source in kept)


def test_figures_have_room_for_twenty_classes(notebook, imports):
    """No class name lies over another, and no axes are squeezed to nothing."""
    import seaborn as sns

    names = [f"a class name {index}" for index in range(20)]
    labels = np.arange(80) % 20
    probabilities = np.random.default_rng(0).dirichlet(np.ones(20), size=80)
    frame = pd.DataFrame({"emotion": [names[label] for label in labels]})
    given = {
        "inputs": {"model_name": "m", "dataset_name": "d"},
        "note": "",
        "class_names": names,
        "colors": dict(zip(names, sns.color_palette("colorblind", 20), strict=True)),
        "frames": dict.fromkeys(("train", "validation", "test"), frame),
        "labels": labels,
        "probabilities": probabilities,
        "results": {"test": {"confusion_matrix": np.ones((20, 20)).tolist()}},
    }
    cells = ("keep-figure", "distribution", "confusion", "roc")
    for name, figure in notebook.run(*cells, **{**imports, **given})["figures"].items():
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
        tops = sorted((box.y0, box.y1) for box in boxes)
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(tops)), name
        sizes = [axis.get_window_extent() for axis in figure.axes]
        assert min(min(size.width, size.height) for size in sizes) > figure.bbox.width / 6, name


def test_probabilities_of_a_text_are_drawn(notebook, imports, monkeypatch):
    import matplotlib.pyplot as plt

    answer = [{"label": "blue", "score": 0.1}, {"label": "red", "score": 0.9}]
    given = {
        "class_names": ["red", "blue"],
        "colors": {"red": "r", "blue": "b"},
        "classifier": lambda texts, top_k: [answer for _ in texts],
        "sentences": ["a sentence"],
        "note": "SAMPLE",
    }
    monkeypatch.setattr(plt, "show", lambda: None)
    notebook.run("try-it", **{**imports, **given})
    axis = plt.gca()
    assert [bar.get_width() for bar in axis.patches] == [90, 10], "in the order of the classes"
    assert axis.get_title() == "a sentence\nSAMPLE"


def test_wandb_record_agrees_with_metrics_json(record, tracked):
    assert tracked["state"] == "finished" and tracked["exit_code"] == 0
    summary, config = tracked["summary"], tracked["config"]
    for name in METRICS:
        assert summary[f"test/{name}"] == pytest.approx(record["test"][name])
    assert config["parameters"] == record["parameters"]
    assert config["inputs"] == record["inputs"]
    assert config["environment"] == record["environment"]
    assert {"train/loss", "eval/loss", "eval/macro_f1", "train/learning_rate"} <= set(summary)
    assert summary["test_predictions"]["nrows"] == 95
    assert {f"figures/{name}" for name in FIGURES} <= set(summary)
    plots = ("confusion_matrix", "roc_curves", "precision_recall_curves", "losses", "validation")
    assert {f"{plot}_table" for plot in plots} <= set(summary)
    assert {"train/grad_norm", "train/samples_per_second"} <= set(summary)
    assert "train_samples_per_second" in summary


def test_wandb_run_is_grouped_by_recipe(sample_run, record):
    (run,) = wandb_records(sample_run.wandb_folder, "run")
    assert run["run_group"] == f"all-MiniLM-L6-v2 {record['recipe']}"
    assert run["job_type"] == "fine-tune"


def test_wandb_knows_the_data(sample_run, record):
    artifacts = wandb_records(sample_run.wandb_folder, "artifact")
    (data,) = [artifact for artifact in artifacts if artifact["type"] == "dataset"]
    fingerprint = record["inputs"]["dataset_fingerprint"]
    assert data["name"] == "sample" and fingerprint in data["metadata"]


def test_wandb_table_of_predictions(sample_run, predictions):
    (path,) = (sample_run.wandb_folder.parent.parent).rglob("test_predictions*.table.json")
    table = json.loads(path.read_text())
    assert table["columns"][:3] == ["text", "label", "predicted"] and "loss" in table["columns"]
    assert sorted(row[0] for row in table["data"]) == sorted(predictions["text"])


def test_model_card(sample_run, record):
    card = huggingface_hub.ModelCard.load(sample_run.folder / "out" / "sample" / "model/README.md")
    assert card.data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert card.data.datasets is None, "the sample is not on the Hub"
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    test = record["test"]
    expected = {name: test[n] for name, n in (("accuracy", "accuracy"), ("f1", "macro_f1"))}
    assert values == pytest.approx({**expected, "roc_auc": test["weighted_roc_auc"]}, abs=1e-4)
    assert "must not be used to judge people" in card.text and record["note"] in card.text
    assert str(sample_run.folder) not in card.content


def test_nothing_left_tells_a_secret(sample_run):
    """No key, token, user name or home folder in notebook, metrics, model or W&B record."""
    files = [file for file in sample_run.folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".ipynb", ".json", ".wandb", ".csv", ".safetensors"}
    for file in files:
        content = file.read_bytes()
        assert not [name for name, secret in SECRETS.items() if secret.encode() in content], file
    record = wandb_inspect(sample_run.wandb_folder)
    assert '"run_id":' in record
    assert not [word for word in (platform.node(), sys.prefix) if f'"{word}' in record]


def test_wandb_disabled_and_quick(tmp_path):
    environment = {**NO_HUB, "WANDB_MODE": "disabled"}
    finished = papermill(tmp_path, environment, num_epochs=1, max_train_samples=64)
    assert finished.returncode == 0, finished.stderr[-3000:]
    record = json.loads((tmp_path / "out" / "sample" / "metrics.json").read_text())
    assert record["train"]["rows"] == 64
    assert not (tmp_path / "wandb").exists()


def test_no_fallback_stops_before_training(tmp_path):
    environment = {**NO_HUB, "WANDB_MODE": "disabled"}
    finished = papermill(tmp_path, environment, offline_fallback=False)
    assert finished.returncode != 0
    for word in (
        "ConnectionError",
        "HF_ENDPOINT",
        "HF_HOME",
        "offline_fallback",
        "dair-ai/emotion",
    ):
        assert word in finished.stderr
    assert [file.name for file in (tmp_path / "out").rglob("*")] == [".lock"]
