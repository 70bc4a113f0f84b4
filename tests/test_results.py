"""What is committed about results: tables, records and sentences agree with the runs' own files."""

import json
import os
import re

import nbformat
import numpy as np
import pytest
import write_tables
from executed_copy import REASON, executed_copy
from helpers import NOTEBOOK, ROOT, execute, outputs, wandb_inspect, wandb_summary


@pytest.fixture(scope="module")
def record():
    return json.loads((ROOT / "figures/reference/metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wandb_folder():
    (folder,) = (ROOT / "wandb").glob("offline-run-*-reference")
    return folder


@pytest.mark.parametrize("path", write_tables.READMES, ids=lambda path: path.parent.name)
def test_tables_are_those_of_the_json_files(path):
    text = path.read_text(encoding="utf-8")
    assert write_tables.filled(text) == text, "python tests/measure/write_tables.py"


def test_reference_run_is_a_full_one(record, setup):
    """All defaults at DistilBERT's size, but for its weights, and no texts in W&B."""
    own = {"model_name": write_tables.STAND_IN, "log_texts": 0}
    assert record["parameters"] == setup["parameters"] | own
    assert record["rows"] == {"train": 15924, "validation": 2000, "test": 2000}
    assert not record["resumed"]


def test_errors_are_where_the_coins_are(record):
    """What README and notebook say: 21 words, a tenth of the texts, most of the errors."""
    assert len(record["coin_words"]) == 21
    coin, others = (record["test_by_coin_word"][name] for name in ("with", "without"))
    assert coin["texts"] / (coin["texts"] + others["texts"]) == pytest.approx(0.11, abs=0.01)
    assert coin["errors"] > 3 * others["errors"]
    assert coin["low"] < 0.5 < coin["high"] and others["low"] > 0.975


def test_reference_wandb_record_is_of_the_same_run(record, wandb_folder):
    """`wandb sync` leaves nothing pending: there is no artifact in it. It tells no machine."""
    tracked, shown = wandb_summary(wandb_folder), wandb_inspect(wandb_folder)
    for name in record["test"]["intervals"]:
        assert tracked["summary"][f"test/{name}"] == pytest.approx(record["test"][name])
    assert tracked["config"]["inputs"] == record["inputs"]
    assert '"type":"artifact"' not in shown
    assert not re.search(r'"(/work/|/root|/home/|/tmp/)', shown)


def test_no_row_of_the_data_set_is_committed(wandb_folder):
    assert not list(wandb_folder.rglob("*predictions*"))
    files = [file for file in wandb_folder.rglob("*") if file.suffix in (".wandb", ".json")]
    assert files and not [file for file in files if b"i feel" in file.read_bytes()]


@pytest.fixture(scope="module")
def copy():
    path = ROOT / "figures/reference/EmotionClassification.ipynb"
    return nbformat.read(path, as_version=4)


def test_executed_copy_is_of_this_notebook_and_the_reference_run(record, copy, notebook):
    """Its open cells are the notebook's own; what it shows is in metrics.json."""
    expected = executed_copy(nbformat.read(NOTEBOOK, as_version=4))
    sources = {cell.id: cell.source for cell in copy.cells}
    for cell in expected.cells:
        if cell.id != "parameters":
            assert sources[cell.id] == cell.source, cell.id
    shown = {cell.id: str(cell.outputs) for cell in copy.cells if cell.cell_type == "code"}
    for name in ("accuracy", "macro_f1", "log_loss"):
        for value in (record["test"][name], *record["test"]["intervals"][name]):
            assert f"{np.round(value, 3):.3f}" in shown["comparison"], name
    for word in record["coin_words"]:
        assert word["word"] in shown["coin-table"]
    assert str(record["test_by_coin_word"]["with"]["errors"]) in shown["by-coin-word"]
    drawn = [id for id, text in shown.items() if "image/png" in text]
    assert len(drawn) == 3 and not [id for id, text in shown.items() if "Traceback" in text]


def test_executed_copy_shows_no_text_of_the_data_set(copy, real_data):
    shown = outputs(copy)
    assert shown.count(REASON) == 5
    texts = {text for rows in real_data["splits"].values() for text in rows["text"]}
    assert not [text for text in texts if len(text) > 15 and text in shown]


def test_default_has_the_lowest_log_loss_on_validation():
    """As figures/README.md says, over five seeds."""
    groups = write_tables.read("choices.json")["groups"]
    mean = {
        name: sum(run["validation"]["log_loss"] for run in runs) / len(runs)
        for name, runs in groups.items()
        if "LoRA" not in name
    }
    assert min(mean, key=mean.get) == "all-MiniLM-L6-v2" and len(mean) == 3
    assert {len(runs) for runs in groups.values()} == {5}


def test_two_epochs_are_not_equal():
    """As figures/README.md says, on validation texts without a coin-toss word."""
    runs = write_tables.read("recipes.json")["validation"]
    default, shorter = ([*runs[name].values()] for name in ("default", "2 epochs"))
    others = [[run["without_coin_word"] for run in each] for each in (shorter, default)]
    points, _ = write_tables.less_default(*others)
    assert float(re.search(r"\[(\S+),", points)[1]) < -0.2
    assert all(run["log_loss"] > pair["log_loss"] for run, pair in zip(*others, strict=True))
    for each, without in ((default, others[1]), (shorter, others[0])):
        spread = [np.std([run["accuracy"] for run in some]) for some in (each, without)]
        assert spread[1] < 0.55 * spread[0]


def test_a_run_changes_no_tracked_file():
    """Git ignores what README's commands write, in the folders that it names."""
    left = ["outputs/metrics.json", "outputs/checkpoints/a/b", "run.ipynb", "run.py"]
    left += ["wandb/debug.log", "wandb/offline-run-1-a/run-a.wandb"]
    command = ["git", "check-ignore", *left]  # tracked files are never ignored
    assert execute(command, os.environ).stdout.split() == left


READMES = ["README.md", "figures/README.md", "tests/README.md", "wandb/README.md"]


@pytest.mark.parametrize("path", READMES)
def test_links_and_parameters_in_readmes(path, setup):
    text = (ROOT / path).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)|src=\"([^\"]+)", text):
        target = "".join(target)
        assert (ROOT / path).parent.joinpath(target).exists(), target
    names = set(re.findall(r"-p (\w+) ", text)) - {"NAME"}
    assert names <= set(setup["fields"])
    assert not re.search(r"/work/|/root/|/home/|/tmp/", text)


def test_readme_is_short(readme):
    assert len(readme.encode()) <= 7 * 1024
    commands = [line.strip() for line in readme.splitlines() if line.startswith("    pip install")]
    ci = (ROOT / ".ci" / "run").read_text()
    assert commands[0].endswith("papermill EmotionClassification.ipynb run.ipynb")
    assert commands[1].endswith("&& pytest")
    assert "papermill EmotionClassification.ipynb run.ipynb" in ci and "pytest" in ci
