"""What is committed about results: tables, records and sentences agree with the runs' own files."""

import json
import re
import subprocess

import pandas as pd
import pytest
import tables
from helpers import ROOT, wandb_summary


@pytest.fixture(scope="module")
def record():
    return json.loads((ROOT / "figures/reference/metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wandb_folder():
    (folder,) = (ROOT / "wandb").glob("offline-run-*-reference")
    return folder


@pytest.mark.parametrize("path", tables.READMES, ids=lambda path: path.parent.name)
def test_tables_are_those_of_the_json_files(path):
    text = path.read_text(encoding="utf-8")
    assert tables.filled(text) == text, "python tests/measure/tables.py"


def test_reference_run_is_a_full_one_with_the_defaults(record, setup):
    stand_in = {"model_name": tables.STAND_IN}
    assert record["parameters"] == setup["parameters"] | stand_in
    assert record["inputs"]["model_name"] == tables.STAND_IN
    assert record["rows"] == {"train": 15924, "validation": 2000, "test": 2000}
    assert not record["resumed"]


def test_running_time_in_the_title(record, notebook):
    minutes = round(record["seconds"] / 60)
    ratio = tables.read("benchmark-speed.json")["measured"]["notebook / notebook in fp32"]["median"]
    title = notebook.cells["title"].source
    assert f"about {minutes} minutes" in title and f"about {ratio:.0f} times as long" in title
    ceiling = tables.read("seeds.json")["ceiling_flop_per_second"] / 1e9
    assert f"about {round(ceiling, -1):.0f} GFLOP/s" in title


def test_reference_wandb_record_is_of_the_same_run(record, wandb_folder):
    tracked = wandb_summary(wandb_folder)
    for name in record["test"]["intervals"]:
        assert tracked["summary"][f"test/{name}"] == pytest.approx(record["test"][name])
    assert tracked["config"]["inputs"] == record["inputs"]


def test_no_row_of_the_data_set_is_committed(wandb_folder):
    """Neither the table of predictions nor a text of it lies in the committed record."""
    assert not list(wandb_folder.rglob("test_predictions*"))
    files = [file for file in wandb_folder.rglob("*") if file.suffix in (".wandb", ".json")]
    assert files and not [file for file in files if b"i feel" in file.read_bytes()]


def test_sentences_on_class_weights_and_adapters(notebook):
    """Log loss, recall on the rare classes, and ties in accuracy and macro F1."""
    runs, differences = tables.groups(), tables.read("choices.json")["differences"]
    groups = [f"all-MiniLM-L6-v2, weights {name}" for name in ("balanced", "none")]
    default, balanced = (
        pd.DataFrame([run["validation"] for run in runs[name]])
        for name in ("all-MiniLM-L6-v2", groups[0])
    )
    assert len(default) == 5 and "five seeds" in notebook.cells["tokens-text"].source
    less = default - balanced
    assert less["log_loss"].max() < 0
    for name in ("accuracy", "macro_f1"):
        assert abs(less[name].mean()) < less[name].std(), "a tie on validation"
    for scores in differences.values():
        for name in ("accuracy", "macro_f1"):
            low, high = scores[name]["interval"]
            assert low < 0 < high, "a tie on test"
    for name in ("recall_love", "recall_surprise"):
        assert differences[groups[0]][name]["interval"][1] < 0
        assert differences[groups[1]][name]["interval"][0] > 0
    lora = differences["all-MiniLM-L6-v2, LoRA rank 16"]
    assert lora["recall_surprise"]["interval"][1] < 0


def test_no_recipe_beats_the_default():
    for name, runs in tables.read("recipes.json")["validation"].items():
        less = tables.less_default(runs)[["accuracy", "macro_f1"]]
        assert (less.mean() < less.std()).all(), name


def test_a_run_changes_no_tracked_file():
    """Git ignores what README's commands write, in the folders that it names."""
    left = ["outputs/metrics.json", "outputs/checkpoints/a/b", "run.ipynb", "run.py"]
    left += ["figures/calibration.png", "figures/sample/a.png"]
    left += ["wandb/debug.log", "wandb/offline-run-1-a/run-a.wandb"]
    command = ["git", "check-ignore", *left]  # tracked files are never ignored
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == left


READMES = ["README.md", "figures/README.md", "tests/README.md", "wandb/README.md"]


@pytest.mark.parametrize("path", READMES)
def test_links_and_parameters_in_readmes(path, setup):
    text = (ROOT / path).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / path).parent.joinpath(target).exists(), target
    names = set(re.findall(r"-p (\w+) ", text)) - {"NAME"}
    assert names <= set(setup["Parameters"].model_fields)
    assert not re.search(r"/work/|/root/|/home/|/tmp/", text)


def test_readme_is_short(readme):
    assert len(readme.encode()) <= 7 * 1024
    commands = [line.strip() for line in readme.splitlines() if line.startswith("    pip install")]
    ci = (ROOT / ".ci" / "run").read_text()
    assert commands[0].endswith("papermill EmotionClassification.ipynb run.ipynb")
    assert commands[1].endswith("&& pytest")
    assert "papermill EmotionClassification.ipynb run.ipynb" in ci and "pytest" in ci
