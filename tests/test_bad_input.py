"""Bad data, models and folders stop the run before training, in a sentence that says what to mend.

Wrong parameters are in test_parameters.py.
"""

import json
import os
import re
import subprocess
import types

import datasets
import pandas as pd
import pytest
import transformers
from conftest import EMOTIONS, FETCH, LOAD

TEXTS = [f"text number {number}" for number in range(24)]
LABELS = [number % 3 for number in range(24)]
THREE = datasets.ClassLabel(names=["red", "green", "blue"])


def frame(**columns):
    return pd.DataFrame({"text": TEXTS, "label": LABELS, **columns})


def parquet(folder, feature=None, **splits):
    """Write each split as the Hub's Parquet files are, labels as ClassLabel unless feature says."""
    for name, split in splits.items():
        features = datasets.Features(text=datasets.Value("string"), label=feature or THREE)
        if list(split.columns) != ["text", "label"] or feature is False:
            features = None
        part = datasets.Dataset.from_pandas(split, features=features, preserve_index=False)
        part.to_parquet(folder / f"{name}.parquet")
    return folder


def changed(**columns):
    """Write a good train split and a test split with some columns replaced."""

    def write(folder):
        other = [f"another {text}" for text in TEXTS]
        test = frame(**{"text": other, **columns})
        return parquet(folder, train=frame(), validation=frame(text=other), test=test)

    return write


def with_value(column, value):
    values = [f"another {text}" for text in TEXTS] if column == "text" else list(LABELS)
    values[5] = value
    return changed(**{column: values})


def csv(name="data.csv", **columns):
    """Write one CSV file, without features."""

    def write(folder):
        frame(**columns).to_csv(folder / name, index=False)
        return folder / name

    return write


def csvs(**splits):
    def write(folder):
        for name, labels in splits.items():
            frame(label=labels).to_csv(folder / f"{name}.csv", index=False)
        return folder

    return write


CARD = """---
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names: [red, green, blue]
---
"""


def declared(labels):
    """Write a CSV file beside a card that declares three classes."""

    def write(folder):
        (folder / "README.md").write_text(CARD)
        frame(label=labels).to_csv(folder / "train.csv", index=False)
        return folder

    return write


def lines(content, name="data.jsonl"):
    def write(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return write


NAMES = ["red", "green", "blue"] * 8
BAD_DATA = {
    "no text column": (changed(text=None), "text"),
    "text column misnamed": (
        lambda folder: parquet(folder, train=frame().rename(columns={"text": "tweet"})),
        "columns tweet, label, not text_column = text",
    ),
    "label column misnamed": (
        lambda folder: parquet(folder, train=frame().rename(columns={"label": "emotion"})),
        "label_column = label",
    ),
    "no train split": (lambda folder: parquet(folder, test=frame()), "no train split, only test"),
    "empty test split": (
        lambda folder: parquet(folder, train=frame(), test=frame().head(0)),
        '"test" corresponds to no data',
    ),
    "empty train split": (
        lambda folder: parquet(folder, train=frame().head(0), test=frame()),
        '"train" corresponds to no data',
    ),
    "text is empty": (
        with_value("text", ""),
        "test: 1 texts are blank or no strings, first in row 5",
    ),
    "text is blank": (with_value("text", " \t\n "), "blank"),
    "text is control characters": (with_value("text", "\x00\x07\x1b"), "blank"),
    "text is an invisible space": (with_value("text", "\u200b\u2028"), "blank"),
    "text is missing": (with_value("text", None), "blank or no strings"),
    "texts are numbers": (csv(text=range(24)), "24 texts are blank or no strings"),
    "label is negative": (with_value("label", -1), "1 labels are negative or beyond"),
    "label is beyond the last class": (declared([0, 1, 3] * 8), "3 greater than configured"),
    "label is no class name": (declared(["red", "green", "pink"] * 8), "pink"),
    "label is missing": (with_value("label", None), "neither class names nor whole numbers"),
    "labels are floats": (csv(label=[0.5, 1.5, 2.5] * 8), "neither class names nor whole"),
    "label is an empty word": (csv(label=[*NAMES[:-1], None]), "neither class names"),
    "labels are negative numbers": (csv(label=[-1, 0, 1] * 8), "8 labels are negative"),
    "labels are lists": (
        lines(b'{"text": "a", "label": ["red"]}\n' * 24),
        "neither class names nor whole numbers",
    ),
    "label of test not in train": (
        csvs(train=NAMES, validation=NAMES, test=["red", "pink", "blue"] * 8),
        "train lacks the labels ['pink']",
    ),
    "class missing from train": (
        lambda folder: parquet(folder, train=frame(label=[0, 1] * 12), test=frame()),
        "train lacks ['blue']",
    ),
    "one class only": (
        csvs(train=["red"] * 24, validation=["red"] * 24, test=["red"] * 24),
        "of ['red']",
    ),
    "too few to split": (csv(label=NAMES), "fewer than 10 train texts of a class"),
    "empty CSV": (lines(b"text,label\n", "data.csv"), "corresponds to no data|0 rows"),
    "nothing in the folder": (lambda folder: folder, "doesn't contain any data files"),
    "JSON is torn": (lines(b'{"text": "a", "label": 1}\n{"text": "b", "la'), "data.jsonl|JSON"),
    "CSV has ragged rows": (
        lines(b'text,label\na,1\nb,2,3,4\n"c', "data.csv"),
        "tokenizing|C error",
    ),
    "Parquet is none": (lines(b"PAR1 not really", "data.parquet"), "Parquet|parquet"),
    "not UTF-8": (lines(b"text,label\n\xff\xfe\xfa,1\n", "data.csv"), "utf-8"),
}


@pytest.fixture
def load(notebook, imports):
    def load(path, **replaced):
        given = {"dataset_path": path, "dataset_name": str(path), "inputs": {}}
        return notebook.run(*LOAD, "audit", **{**imports, **given, **replaced})

    return load


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(load, tmp_path, case):
    write, words = BAD_DATA[case]
    with pytest.raises(ValueError, match="dataset_name = ") as caught:
        load(write(tmp_path))
    assert re.search(words if "|" in words else re.escape(words), str(caught.value))
    assert "\n" not in str(caught.value).strip(), "one sentence"


ODD_TEXTS = {
    "100,000 characters": "a long story " * 7693,
    "emoji": "🙂🙃🥲",
    "right to left": "أنا سعيد جدا اليوم",
    "control characters within": "one\x00two\x07three\x1b[31m",
    "markup": "<script>alert(1)</script> & <b>bold</b>",
    "no spaces": "x" * 1000,
}


@pytest.mark.parametrize("case", ODD_TEXTS)
def test_odd_texts_are_no_fault(notebook, load, tmp_path, case):
    cells = load(with_value("text", ODD_TEXTS[case])(tmp_path))
    assert cells["dataset"]["test"]["text"][5] == ODD_TEXTS[case]


def test_odd_texts_reach_no_page_as_markup(notebook, imports):
    """The table of mistakes is HTML; what tweets contain must not be."""
    import numpy as np

    test = {"text": [*ODD_TEXTS.values()], "label": [0] * 6}
    given = {
        "dataset": {"test": test},
        "frames": {"test": pd.DataFrame({"emotion": ["red"] * 6})},
        "class_names": ["red", "green"],
        "probabilities": np.full((6, 2), 0.5),
        "labels": np.zeros(6, int),
    }
    page = notebook.run("mistakes", **imports, **given)["table"].to_html()
    assert "<script>" not in page and "&lt;script&gt;" in page


BAD_MODELS = {
    "no config": ({}, ["model.safetensors"], "no encoder of the type None"),
    "pickled weights": ({"model_type": "bert"}, ["pytorch_model.bin"], "no weights as safetensors"),
    "remote code": (
        {"model_type": "mine", "auto_map": {"AutoModel": "mine.Mine"}},
        ["model.safetensors"],
        "code from its own repository, which is never run",
    ),
    "unknown type": ({"model_type": "mine"}, ["model.safetensors"], "no encoder of the type mine"),
    "images": ({"model_type": "vit"}, ["model.safetensors"], "vit, which is no encoder"),
    "encoder and decoder": (
        {"model_type": "t5", "is_encoder_decoder": True},
        ["model.safetensors"],
        "no encoder of the type t5",
    ),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_bad_model(notebook, imports, tmp_path, case):
    config, files, words = BAD_MODELS[case]
    for name in files:
        (tmp_path / name).touch()
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config))
    given = {**imports, "model_folder": tmp_path, "inputs": {"model_name": "some/model"}}
    with pytest.raises(ValueError, match="^model_name = some/model: .*Choose another") as caught:
        notebook.run("check-model", **given)
    assert words in str(caught.value)


def file_in_the_way(folder):
    (folder / "file").touch()
    return folder / "file"


BAD_FOLDERS = {
    "a file": file_in_the_way,
    "below a file": lambda folder: file_in_the_way(folder) / "out",
    "unwritable": lambda folder: "/proc/out",
    "a name too long": lambda folder: folder / ("x" * 300),
}


@pytest.mark.parametrize("name", ["output_dir", "figures_dir"])
@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folder(notebook, imports, tmp_path, name, case):
    folders = {"output_dir": tmp_path / "good", "figures_dir": tmp_path / "good"}
    folders[name] = type(tmp_path)(BAD_FOLDERS[case](tmp_path))
    with pytest.raises(ValueError, match=f"{name} = .* cannot be written to"):
        notebook.run("lock", **{**imports, **folders})


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 64 KiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path]
    if os.name != "posix" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root on Linux only")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_full_disk(notebook, imports, full_disk):
    folders = {"output_dir": full_disk / "out", "figures_dir": full_disk / "figures"}
    with pytest.raises(ValueError, match="output_dir = .* cannot be written to: .*No space"):
        notebook.run("lock", **{**imports, **folders})


def test_full_disk_for_the_record(notebook, imports, full_disk, tmp_path_factory, monkeypatch):
    good = tmp_path_factory.mktemp("good")
    monkeypatch.setenv("WANDB_DIR", str(full_disk))
    with pytest.raises(ValueError, match="WANDB_DIR = .* cannot be written to: .*No space"):
        notebook.run("lock", **{**imports, "output_dir": good, "figures_dir": good})


def test_no_room_for_checkpoints(notebook, imports, tmp_path, monkeypatch):
    """Found out before training: three checkpoints with AdamW's two moments, and the model."""
    free = imports["shutil"].disk_usage(tmp_path)._replace(free=39_000)
    monkeypatch.setattr(imports["shutil"], "disk_usage", lambda _: free)
    given = {
        "device": types.SimpleNamespace(type="cpu"),
        "precision": "fp32",
        "inputs": {"model_name": "encoder", "offline_fallback": False},
        "parameters": {},
        "training_arguments": transformers.TrainingArguments(tmp_path, use_cpu=True),
        "last_checkpoint": lambda *_: (None, None),
        "model": types.SimpleNamespace(num_parameters=lambda: 1000),
        "output_dir": tmp_path,
    }
    with pytest.raises(OSError, match="output_dir = .* GB free, .* needed"):
        notebook.run("begin", **{**imports, **given})


UNKNOWN = {
    "dataset_name": "dair-ai/emotions",
    "dataset_revision": "0" * 40,
    "model_name": "distilbert/distilbert-base",
    "model_revision": "no-such-branch",
}


@pytest.mark.hub
@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_on_the_hub(notebook, imports, hub, name):
    with pytest.raises(ValueError, match=f"check .*{name}") as caught:
        notebook.run(*FETCH, **{**imports, name: UNKNOWN[name]})
    assert UNKNOWN[name] in str(caught.value)


@pytest.mark.parametrize("value", ["no such/name at all", "../data", "missing.csv"])
def test_no_name_of_the_hub_and_no_file(notebook, imports, value):
    with pytest.raises((ValueError, ConnectionError), match="dataset_name") as caught:
        notebook.run(*FETCH, **{**imports, "dataset_name": value, "offline_fallback": False})
    assert value in str(caught.value)


def test_emotions_are_the_sample_s(load):
    """The good case beside all these: the sample itself."""
    from conftest import ROOT

    assert load(ROOT / "tests" / "sample")["class_names"] == EMOTIONS
