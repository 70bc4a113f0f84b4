"""Data of the user's own: loaded in every format, checked before training, split, sampled."""

import datasets
import numpy as np
import pandas as pd
import pytest
from helpers import AUDIT, EMOTIONS, LOAD, SAMPLE, TOKENS

NAMES = ["red", "green", "blue"]
TEXTS = [f"text number {number}" for number in range(60)]


@pytest.fixture
def load(notebook):
    """Load a file or folder through the notebook's cells, up to the audit."""

    def load(path, *more, **parameters):
        given = {"dataset_name": str(path), "model_name": str(SAMPLE), **parameters}
        return notebook.up_to(*LOAD, *AUDIT, *more, **given)

    return load


def parquet(folder, labels=None, **splits):
    """Write splits as the Hub's Parquet files are: text, and label as ClassLabel."""
    features = datasets.Features(
        text=datasets.Value("string"), label=labels or datasets.ClassLabel(names=NAMES)
    )
    for name, rows in splits.items():
        datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / f"{name}.parquet")
    return folder


def rows(**changed):
    return {"text": TEXTS, "label": [number % 3 for number in range(60)], **changed}


def with_value(column, value):
    """A good train split, and a test split with one value replaced."""

    def write(folder):
        test, other = (rows(text=[f"{word} {text}" for text in TEXTS]) for word in ("in", "on"))
        test[column] = [*test[column][:5], value, *test[column][6:]]
        return parquet(folder, train=rows(), validation=other, test=test)

    return write


def csv(**columns):
    def write(folder):
        pd.DataFrame(rows(label=NAMES * 20) | columns).to_csv(folder / "data.csv", index=False)
        return folder / "data.csv"

    return write


def csvs(**labels):
    def write(folder):
        for split, names in labels.items():
            frame = pd.DataFrame({"text": [f"{split} {text}" for text in TEXTS], "label": names})
            frame.to_csv(folder / f"{split}.csv", index=False)
        return folder

    return write


def raw(content, name):
    def write(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return write


BAD = {
    "text column misnamed": (csv(text=None, tweet=TEXTS), "blank text"),
    "no train split": (lambda f: parquet(f, test=rows()), "no train split, only ['test']"),
    "text is empty": (with_value("text", ""), "test, row 5"),
    "text is control characters": (with_value("text", "\x00\x07\x1b"), "test, row 5"),
    "text is an invisible space": (with_value("text", "\u200b\u2028"), "test, row 5"),
    "text is missing": (with_value("text", None), "test, row 5"),
    "texts are numbers": (csv(text=range(60)), "train, row 0"),
    "label is negative": (with_value("label", -1), "label -1"),
    "label is missing": (with_value("label", None), "label None"),
    "labels are floats": (csv(label=[0.5, 1.5, 2.5] * 20), "label 0.5"),
    "label is an empty word": (csv(label=[*NAMES * 19, "red", "green", None]), "label None"),
    "label of test not in train": (
        csvs(train=NAMES * 20, validation=NAMES * 20, test=["pink", "red", "blue"] * 20),
        "pink",
    ),
    "class missing from train": (
        lambda f: parquet(f, train=rows(label=[0, 1] * 30)),
        "['red', 'green']",
    ),
    "one class only": (csvs(**dict.fromkeys(("train", "validation", "test"), ["a"] * 60)), "['a']"),
    "too few to split": (
        csv(text=TEXTS[:6], label=NAMES * 2),
        "greater or equal to the number of classes",
    ),
    "JSON is torn": (raw(b'{"text": "a", "label": 1}\n{"text": "b", "la', "data.jsonl"), "dataset"),
    "CSV has ragged rows": (raw(b'text,label\na,1\nb,2,3,4\n"c', "data.csv"), "dataset"),
    "empty CSV": (raw(b"text,label\n", "data.csv"), "corresponds to no data"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data(load, tmp_path, case):
    """The notebook's own errors name dataset_name; those of a library for a file are its own."""
    write, words = BAD[case]
    with pytest.raises((ValueError, OSError, datasets.exceptions.DatasetsError)) as caught:
        load(write(tmp_path))
    assert words in str(caught.value)
    library = "site-packages" in str(caught.traceback[-1].path)
    assert library or "dataset_name" in str(caught.value)


def test_missing_column(load, tmp_path):
    with pytest.raises(ValueError, match=r"\['tweet'\] not in the dataset"):
        load(csv()(tmp_path), text_column="tweet")


ODD = ["a long story " * 7693, "🙂🙃🥲", "أنا سعيد جدا", "one\x00two\x1b[31m", "<b>bold</b>"]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_no_fault(load, tmp_path, text):
    assert load(with_value("text", text)(tmp_path))["dataset"]["test"]["text"][5] == text


def test_texts_reach_no_page_as_markup(notebook, setup):
    """The table of mistakes is HTML; what tweets contain must not be."""
    test = {"text": ["<script>alert(1)</script>"] * 2, "label": [0, 1]}
    given = {"dataset": {"test": test}, "class_names": ["red", "green"]}
    given |= {"test_probabilities": np.full((2, 2), 0.5), "test_labels": np.array([0, 1])}
    given["test_predicted"] = np.array([0, 0])
    page = notebook.run("predictions", "mistakes", **setup, **given)["worst"].to_html()
    assert "<script>" not in page and "&lt;script&gt;" in page


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_own_data(load, tmp_path, monkeypatch, kind):
    """A file here, columns of other names, labels as words or numbers; splits drawn from it."""
    numbers = kind in ("csv", "parquet")
    labels = [2, 10, 5] * 40 if numbers else ["слабо", "good", "bad"] * 40
    frame = pd.DataFrame({"stars": labels, "review": [f"review {n}" for n in range(120)], "x": 0})
    monkeypatch.chdir(tmp_path)
    {
        "csv": lambda path: frame.to_csv(path, index=False),
        "tsv": lambda path: frame.to_csv(path, index=False, sep="\t"),
        "jsonl": lambda path: frame.to_json(path, orient="records", lines=True),
        "parquet": lambda path: frame.to_parquet(path, index=False),
    }[kind](f"reviews.{kind}")
    cells = load(f"reviews.{kind}", text_column="review", label_column="stars")
    assert cells["class_names"] == (["2", "5", "10"] if numbers else ["bad", "good", "слабо"])
    parts = {name: part.to_pandas() for name, part in cells["dataset"].items()}
    assert [len(part) for part in parts.values()] == [97, 12, 11]
    assert all(part["label"].value_counts().max() <= 33 for part in parts.values()), "stratified"
    named = {
        row.text: cells["class_names"][row.label] for p in parts.values() for row in p.itertuples()
    }
    assert named == {row.review: str(row.stars) for row in frame.itertuples()}
    assert cells["sources"]["dataset_revision"] is None


def test_sample_splits_and_classes(sample_cells):
    assert sample_cells["class_names"] == EMOTIONS
    sizes = {name: len(pd.read_csv(SAMPLE / f"{name}.csv")) for name in sample_cells["dataset"]}
    assert {name: len(part) for name, part in sample_cells["dataset"].items()} == sizes


def test_hash_changes_with_any_row(load, sample_cells, tmp_path):
    for name in ("train", "validation", "test"):
        text = (SAMPLE / f"{name}.csv").read_text(encoding="utf-8")
        changed = text.replace("car", "cat", 1) if name == "test" else text
        (tmp_path / f"{name}.csv").write_text(changed, encoding="utf-8")
    assert load(SAMPLE)["sources"]["dataset_sha256"] == sample_cells["sources"]["dataset_sha256"]
    assert load(tmp_path)["sources"]["dataset_sha256"] != sample_cells["sources"]["dataset_sha256"]


def shares(split):
    return np.bincount(split["label"]) / len(split)


def test_fewer_train_samples_keep_the_class_shares(load, sample_cells):
    """The original threw its stratified split away."""
    part = load(SAMPLE, max_train_samples=100)["dataset"]
    assert len(part["train"]) == 100
    assert shares(part["train"]) == pytest.approx(
        shares(sample_cells["dataset"]["train"]), abs=0.01
    )
    assert part["test"]["text"][:] == sample_cells["dataset"]["test"]["text"][:]
    with pytest.raises(ValueError, match="train_size = 5 should be greater|train has texts of"):
        load(SAMPLE, max_train_samples=5)


def test_contradicting_and_leaking_texts_leave_train(load, tmp_path):
    labels = ["red", "green"] * 30
    train = ["twice", "twice", *TEXTS[2:59], "in test"]
    splits = {
        "train": train,
        "validation": [f"v {t}" for t in TEXTS],
        "test": ["in test", *TEXTS[1:]],
    }
    splits["test"][1:] = [f"t {text}" for text in TEXTS[1:]]
    for name, texts in splits.items():
        pd.DataFrame({"text": texts, "label": labels}).to_csv(tmp_path / f"{name}.csv", index=False)
    dataset = load(tmp_path)["dataset"]
    assert sorted(dataset["train"]["text"]) == sorted(TEXTS[2:59])
    assert len(dataset["test"]) == 60, "stays whole"


def test_texts_are_cut_but_never_padded(notebook, sample_cells, minilm_folder):
    """The original padded every text to 128 tokens."""
    given = sample_cells | {"model_folder": minilm_folder}
    cells = notebook.run(*TOKENS, "waste", "lengths", **given)
    rows = cells["tokenised"]["train"]
    assert [len(ids) for ids in rows["input_ids"]] == rows["length"][:]
    assert cells["tokenizer"].pad_token_id not in {i for ids in rows["input_ids"] for i in ids}
    cut = notebook.run("tokenise", **cells | {"max_length": 8})["tokenised"]["train"]
    assert max(len(ids) for ids in cut["input_ids"]) == 8
