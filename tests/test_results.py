"""What is committed about results: tables, records and sentences agree with the runs' own files."""

import json
import re
import subprocess

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
    defaults = {n: v for n, v in setup["parameters"].items() if n != "output_dir"}
    assert {name: record["parameters"][name] for name in defaults} == defaults
    assert record["rows"] == {"train": 15924, "validation": 2000, "test": 2000}
    assert "tand-in" in record["note"] and not record["resumed"]


def test_running_time_in_the_title(record, notebook):
    fp32 = json.loads((ROOT / "figures/metrics-fp32.json").read_text())
    fast, slow = (round(run["seconds"] / 60) for run in (record, fp32))
    title = notebook.cells["title"].source
    assert f"about {fast} minutes" in title and f"about {slow} on two without" in title


def test_reference_wandb_record_is_of_the_same_run(record, wandb_folder):
    tracked = wandb_summary(wandb_folder)
    for name in record["test"]["intervals"]:
        assert tracked["summary"][f"test/{name}"] == pytest.approx(record["test"][name])
    assert tracked["notes"] == record["note"]


def test_no_row_of_the_data_set_is_committed(wandb_folder):
    """Neither the table of predictions nor a text of it lies in the committed record."""
    assert not list(wandb_folder.rglob("test_predictions*"))
    files = [file for file in wandb_folder.rglob("*") if file.suffix in (".wandb", ".json")]
    assert files and not [file for file in files if b"i feel" in file.read_bytes()]


def test_sentences_on_class_weights_and_epochs():
    """Of figures/README.md: more recall for the rare classes; three epochs ahead, seed by seed."""
    differences = tables.read("seeds.json")["differences"]
    none, root = differences["balanced less none"], differences["balanced less sqrt"]
    assert min(none["recall_love"]["interval"][0], none["recall_surprise"]["interval"][0]) > 0
    assert none["accuracy"]["interval"][0] < 0 < none["accuracy"]["interval"][1]
    assert root["accuracy"]["interval"][1] < 0
    recipes = tables.read("recipes.json")["validation"]
    two, three = recipes["base"], recipes["3 epochs"]
    assert all(three[seed][-1]["accuracy"] > two[seed][-1]["accuracy"] for seed in two)


def test_a_run_changes_no_tracked_file():
    """Git ignores what README's commands write, in the folders that it names."""
    left = [
        "outputs/metrics.json",
        "outputs/checkpoints/a/b",
        "run.ipynb",
        "run.py",
        "wandb/debug.log",
    ]
    left += ["figures/calibration.png", "figures/sample/a.png", "wandb/offline-run-1-a/run-a.wandb"]
    command = ["git", "check-ignore", "--no-index", *left]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == left
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    assert not set(left) & set(tracked.split())


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
