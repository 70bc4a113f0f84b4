"""The committed results: README says what figures/metrics.json says, and the W&B record agrees."""

import json
import re

import pytest
from benchmark import growth_sentence, speed_rows, speed_sentences, start_sentence
from conftest import ROOT, wandb_summary
from seeds import PATH as SEEDS_PATH
from seeds import difference_rows, results_rows, weighting_rows


@pytest.fixture(scope="module")
def record():
    return json.loads((ROOT / "figures" / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fp32_record():
    """Of the same command where bfloat16 is not fast."""
    return json.loads((ROOT / "figures" / "metrics-fp32.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def recipes():
    """Validation metrics after each epoch, by recipe and seed."""
    path = ROOT / "figures" / "recipes.json"
    return json.loads(path.read_text(encoding="utf-8"))["validation"]


@pytest.fixture(scope="module")
def wandb_folder():
    (folder,) = (ROOT / "wandb").glob("offline-run-*-reference")
    return folder


def test_results_table(record, readme):
    expected = [
        (spelled(name), *(shown(record[split], name) for split in ("test", "baseline")))
        for name in record["test"]["intervals"]
    ]
    rows = re.findall(r"^\| ([a-zA-Z0-9 -]+) \| ([\d., \[\]]+) \| ([\d., \[\]]+) \|$", readme, re.M)
    assert rows == expected


def test_recipes_table(recipes, readme):
    """Every recipe tried, mean over its seeds of the last epoch on validation."""
    expected = []
    for name, seeds in recipes.items():
        last = [epochs[-1] for epochs in seeds.values()]
        means = [f"{sum(e[m] for e in last) / len(last):.4f}" for m in last[0]]
        expected.append((name, str(len(seeds)), *means))
    rows = re.findall(r"^\| (.+?) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", readme, re.M)
    assert rows == expected


def test_sentences_on_three_epochs(recipes, record, readme):
    """Ahead with each seed, by 0.4 points on average; two epochs end within 15 minutes."""
    two, three = recipes["base"], recipes["3 epochs"]
    gains = {
        metric: [three[seed][-1][metric] - two[seed][-1][metric] for seed in two]
        for metric in ("accuracy", "log_loss")
    }
    assert min(gains["accuracy"]) > 0 > max(gains["log_loss"])
    assert f"by {100 * sum(gains['accuracy']) / 3:.1f} points of accuracy on average" in readme
    assert record["seconds"] < 15 * 60


def test_tables_of_several_seeds(readme):
    """README's tables of seeds and class weights are those of the runs, row by row, no other."""
    found = json.loads(SEEDS_PATH.read_text(encoding="utf-8"))
    for rows in (results_rows, weighting_rows, difference_rows):
        expected = "\n".join(["", *rows(found), "\n"])
        assert f"--- |{expected}" in readme


def test_sentence_on_class_weights():
    """Balanced against none: more recall on the rare classes, no accuracy lost beyond chance."""
    found = json.loads(SEEDS_PATH.read_text(encoding="utf-8"))["differences"]
    none, root = found["balanced less none"], found["balanced less sqrt"]
    assert min(none["recall_love"]["interval"][0], none["recall_surprise"]["interval"][0]) > 0.05
    assert none["accuracy"]["interval"][0] < 0 < none["accuracy"]["interval"][1]
    assert root["accuracy"]["interval"][1] < 0


def test_sentence_on_low_rank_adapters():
    groups = json.loads(SEEDS_PATH.read_text(encoding="utf-8"))["groups"]
    full, lora = (
        [run for run in groups[name] if run["seed"] < 45]
        for name in ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2, LoRA rank 16")
    )
    assert sum(r["test"]["accuracy"] for r in lora) < sum(r["test"]["accuracy"] for r in full)
    faster = 1 - sum(r["training_seconds"] for r in lora) / sum(r["training_seconds"] for r in full)
    assert 0.05 < faster < 0.15, "about a tenth"
    more = [sum(r["peak_memory_bytes"] for r in runs) for runs in (lora, full)]
    assert more[0] > more[1]


def test_speed(readme):
    """README's tables and sentences are the benchmark's."""
    start, rows, *machines = (
        json.loads((ROOT / "figures" / f"benchmark-{part}.json").read_text(encoding="utf-8"))
        for part in ("start", "growth", "speed-bf16", "speed-fp32")
    )
    for found in machines:
        table = "\n".join(["", *speed_rows(found), "\n"])
        assert f"--- |{table}" in readme
        assert all(sentence in readme for sentence in speed_sentences(found))
    assert start_sentence(start) in readme and growth_sentence(rows) in readme


def spelled(name):
    return name.replace("_", " ").replace("f1", "F1").replace("roc auc", "ROC-AUC")


def shown(result, name):
    low, high = result["intervals"][name]
    return f"{result[name]:.3f} [{low:.3f}, {high:.3f}]"


def test_circumstances(record, fp32_record, readme, notebook):
    (minutes, gib), (slow_minutes, slow_gib) = (
        (round(r["seconds"] / 60), f"{r['train']['peak_memory_bytes'] / 2**30:.1f} GiB")
        for r in (record, fp32_record)
    )
    assert f"{minutes} minutes and {gib} of" in readme
    assert f"{slow_minutes} minutes and {slow_gib} on two without it" in readme
    about = f"takes about {minutes} minutes on two CPU cores with fast bfloat16"
    assert f"{about} and about {slow_minutes} on two without" in notebook.cells["title"].source
    assert f"one seed ({record['parameters']['seed']})" in readme
    assert f"`{record['environment']['device']}`, {record['environment']['precision']}" in readme
    assert "stand-in" in record["note"].lower() and "weights are a stand-in" in readme


def test_both_runs_are_full_ones_with_the_defaults(record, fp32_record, notebook):
    values = notebook.run("parameters")
    for run in (record, fp32_record):
        assert run["parameters"] == {name: values[name] for name in run["parameters"]}
        assert run["test"]["rows"] == 2000 and run["inputs"] == record["inputs"]
    assert not record["inputs"]["offline_fallback"]


def test_sentence_on_the_other_machine(fp32_record, readme):
    test, device = fp32_record["test"], fp32_record["environment"]["device"]
    assert "stand-in" in fp32_record["note"].lower()
    assert fp32_record["environment"]["precision"] == "fp32"
    scores = f"accuracy {shown(test, 'accuracy')}, macro F1 {shown(test, 'macro_f1')}"
    assert f"`{device}`, in fp32, with the same stand-in weights and seed: {scores}" in readme


def test_reference_wandb_record_is_of_the_same_run(record, wandb_folder):
    tracked = wandb_summary(wandb_folder)
    for name in record["test"]["intervals"]:
        assert tracked["summary"][f"test/{name}"] == pytest.approx(record["test"][name])
    assert tracked["notes"] == record["note"]
    assert sum(file.stat().st_size for file in wandb_folder.rglob("*") if file.is_file()) < 2**20


def test_no_row_of_the_data_set_is_committed(wandb_folder):
    """Neither the table of predictions nor a text of it lies in the committed record."""
    assert not list(wandb_folder.rglob("test_predictions*"))
    files = [file for file in wandb_folder.rglob("*") if file.suffix in (".wandb", ".json")]
    assert files and not [file for file in files if b"i feel" in file.read_bytes()]
