"""Data of the user's own: loaded in every format, checked before training, split, sampled."""

import datasets
import numpy as np
import pandas as pd
import pytest
from helpers import AUDIT, EMOTIONS, LOAD, SAMPLE, TOKENS

NAMES = ["red", "green", "blue"]
TEXTS = [f"text number {number}" for number in range(60)]
KINDS = datasets.Features(
    text=datasets.Value("string"), label=datasets.ClassLabel(names=NAMES)
)  # as on the Hub


@pytest.fixture
def load(notebook):
    """Load a file or folder through the notebook's cells, up to the audit."""

    def load(path, *more, **parameters):
        given = {"dataset_name": str(path), "model_name": str(SAMPLE), **parameters}
        return notebook.up_to(*LOAD, *AUDIT, *more, **given)

    return load


def csv(**columns):
    """A file of texts and class names, some of its columns replaced."""

    def write(folder):
        frame = pd.DataFrame({"text": TEXTS, "label": NAMES * 20} | columns)
        frame.to_csv(folder / "data.csv", index=False)
        return folder / "data.csv"

    return write


def splits(column="text", value="in 5", **labels):
    """Parquet files as on the Hub, one value of the test split replaced; or CSV with labels."""

    def write(folder):
        for split in ("train", "validation", "test"):
            rows = pd.DataFrame({"text": [f"{split} {t}" for t in TEXTS], "label": [0, 1, 2] * 20})
            if labels:
                rows.assign(label=labels[split]).to_csv(folder / f"{split}.csv", index=False)
                continue
            rows = rows.to_dict("list")
            if split == "test":
                rows[column][5] = value
            table = datasets.Dataset.from_dict(rows, features=KINDS)
            table.to_parquet(folder / f"{split}.parquet")
        return folder

    return write


def raw(content, name):
    def write(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return write


def parquet(labels):
    """A file of train texts with labels of KINDS."""

    def write(folder):
        table = datasets.Dataset.from_dict({"text": TEXTS, "label": labels}, features=KINDS)
        table.to_parquet(folder / "data.parquet")
        return folder / "data.parquet"

    return write


def only_test(folder):
    raw(b"text,label\na,red\n", "test.csv")(folder)
    return folder


PINK = {"train": NAMES * 20, "validation": NAMES * 20, "test": ["pink", *NAMES[1:]] * 20}
BAD = {
    "text column misnamed": (csv(text=None, tweet=TEXTS), "blank text"),
    "no train split": (only_test, "no train split, only ['test']"),
    "text is empty": (splits(value=""), "test, row 5"),
    "text is control characters": (splits(value="\x00\x07\x1b"), "test, row 5"),
    "text is an invisible space": (splits(value="\u200b\u2028"), "test, row 5"),
    "text is missing": (splits(value=None), "test, row 5"),
    "texts are numbers": (csv(text=range(60)), "train, row 0"),
    "label is negative": (splits("label", -1), "label -1"),
    "label is an empty word": (csv(label=[*NAMES * 19, "red", "green", None]), "label None"),
    "label is missing": (splits("label", None), "label None"),
    "labels are floats": (csv(label=[0.5, 1.5, 2.5] * 20), "label 0.5"),
    "label of test not in train": (splits(**PINK), "pink"),
    "class missing from train": (parquet([0, 1] * 30), "['red', 'green']"),
    "one class only": (csv(label="red"), "train has texts of ['red'] only"),
    "a class of one text": (csv(label=["red", *["green"] * 59]), "least populated class"),
    "too few to split": (
        raw(b"text,label\na,1\nb,2\nc,3\nd,1\ne,2\nf,3\n", "data.csv"),
        "greater or equal to the number of classes",
    ),
    "CSV has ragged rows": (raw(b'text,label\na,1\nb,2,3,4\n"c', "data.csv"), "dataset"),
    "JSON is torn": (raw(b'{"text": "a", "label": 1}\n{"text": "b", "la', "data.jsonl"), "dataset"),
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
    assert load(splits(value=text)(tmp_path))["dataset"]["test"]["text"][5] == text


def test_texts_reach_no_page_as_markup(notebook, setup):
    """The table of mistakes is HTML; what tweets contain must not be."""
    test = {"text": ["<script>alert(1)</script>"] * 2, "label": [0, 1]}
    given = {
        "dataset": {"test": test},
        "class_names": NAMES[:2],
        "test_predicted": np.zeros(2, int),
    }
    given |= {"test_probabilities": np.full((2, 2), 0.5), "test_labels": np.array([0, 1])}
    page = notebook.run("predictions", "mistakes", **setup, **given)["worst"].to_html()
    assert "<script>" not in page and "&lt;script&gt;" in page


WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "parquet": lambda frame, path: frame.to_parquet(path, index=False),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_own_data(load, tmp_path, monkeypatch, kind):
    """A file here, columns of other names, labels as words or numbers; splits drawn from it."""
    numbers = kind in ("csv", "parquet")
    labels = [2, 10, 5] * 40 if numbers else ["слабо", "good", "bad"] * 40
    frame = pd.DataFrame({"stars": labels, "review": [f"review {n}" for n in range(120)], "x": 0})
    monkeypatch.chdir(tmp_path)
    WRITERS[kind](frame, f"reviews.{kind}")
    cells = load(f"reviews.{kind}", text_column="review", label_column="stars")
    assert cells["class_names"] == (["2", "5", "10"] if numbers else ["bad", "good", "слабо"])
    parts = {name: part.to_pandas() for name, part in cells["dataset"].items()}
    assert [len(part) for part in parts.values()] == [97, 12, 11]
    assert all(part["label"].value_counts().max() <= 33 for part in parts.values()), "stratified"
    rows = pd.concat(parts.values()).set_index("text")["label"]
    named = rows.map(dict(enumerate(cells["class_names"]))).to_dict()
    assert named == frame.astype(str).set_index("review")["stars"].to_dict()
    assert cells["sources"]["dataset_revision"] is None


def test_hash_changes_with_any_row(load, tmp_path):
    hashes = [
        load(csv(text=texts)(tmp_path))["sources"]["dataset_sha256"]
        for texts in (TEXTS, TEXTS, [*TEXTS[:-1], "another"])
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_fewer_train_samples_keep_the_class_shares(load, sample_cells):
    """The original threw its stratified split away."""
    part = load(SAMPLE, max_train_samples=100)["dataset"]
    shares = [
        np.bincount(rows["label"]) / len(rows)
        for rows in (part["train"], sample_cells["dataset"]["train"])
    ]
    assert len(part["train"]) == 100 and shares[0] == pytest.approx(shares[1], abs=0.01)
    assert part["test"]["text"][:] == sample_cells["dataset"]["test"]["text"][:]
    with pytest.raises(ValueError, match="train_size = 5 should be greater|train has texts of"):
        load(SAMPLE, max_train_samples=5)


def test_contradicting_and_leaking_texts_leave_train(load, tmp_path):
    texts = {name: [f"{name} {text}" for text in TEXTS] for name in ("validation", "test")}
    texts |= {"train": ["twice", "twice", *TEXTS[2:59], texts["test"][0]]}
    for name, column in texts.items():
        frame = pd.DataFrame({"text": column, "label": ["red", "green"] * 30})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    dataset = load(tmp_path)["dataset"]
    assert sorted(dataset["train"]["text"]) == sorted(TEXTS[2:59])
    assert len(dataset["test"]) == 60, "stays whole"


def test_texts_are_cut_but_never_padded(notebook, sample_cells, minilm_folder):
    """The original padded every text to 128 tokens."""
    assert sample_cells["class_names"] == EMOTIONS
    cells = notebook.run(
        *TOKENS, "waste", "lengths", **sample_cells | {"model_folder": minilm_folder}
    )
    rows = cells["tokenised"]["train"]
    assert [len(ids) for ids in rows["input_ids"]] == rows["length"][:]
    assert cells["tokenizer"].pad_token_id not in {i for ids in rows["input_ids"] for i in ids}
    cut = notebook.run("tokenise", **cells | {"max_length": 8})["tokenised"]["train"]
    assert max(len(ids) for ids in cut["input_ids"]) == 8
