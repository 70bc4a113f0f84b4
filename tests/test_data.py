"""Data of the user's own: read, named and checked before training; drawn splits and samples."""

import json
import re

import datasets
import numpy as np
import pandas as pd
import pytest
from helpers import EMOTIONS, SAMPLE

NAMES = ["red", "green", "blue"]
TEXTS = [f"text number {number}" for number in range(60)]


@pytest.fixture
def load(notebook):
    """Load a file or folder through the notebook's cells, up to the audit."""

    def load(path, **parameters):
        given = {"dataset_name": str(path), "model_name": str(SAMPLE), **parameters}
        return notebook.up_to("subset", "distribution", **given)

    return load


def frame(**columns):
    """Sixty texts of three classes, some columns replaced."""
    return pd.DataFrame({"text": TEXTS, "label": NAMES * 20} | columns)


def raw(name, content):
    def write(folder):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / name

    return write


def csv(name="data.csv", sep=",", encoding="utf-8", **columns):
    text = frame(**columns).to_csv(index=False, sep=sep, lineterminator="\n")
    return raw(name, text.encode(encoding))


def jsonl(**columns):
    rows = frame(**columns).to_dict("records")
    return raw("data.jsonl", "\n".join(json.dumps(row) for row in rows))


def parquet(**columns):
    def write(folder):
        frame(**columns).to_parquet(folder / "data.parquet")
        return folder / "data.parquet"

    return write


def folder(**files):
    """A folder of files by name: writers, or labels for texts of their own."""

    def write(path):
        for name, labels in files.items():
            columns = {"text": [f"{name} {text}" for text in TEXTS], "label": labels}
            csv(f"{name}.csv", **columns)(path)
        return path

    return write


def hub_like(column="text", value="in 5"):
    """Parquet files with a ClassLabel as on the Hub, one value of the test split replaced."""
    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)}

    def write(path):
        for split in ("train", "validation", "test"):
            rows = {"text": [f"{split} {text}" for text in TEXTS], "label": [0, 1, 2] * 20}
            if split == "test":
                rows[column][5] = value
            table = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
            table.to_parquet(path / f"{split}.parquet")
        return path

    return write


def quoted(*rows):
    """A table whose texts begin (or, if negative, end) with a lone quotation mark."""
    lines = [[text, label] for text, label in zip(TEXTS, NAMES * 20, strict=True)]
    for row in rows:
        text = lines[abs(row)][0]
        lines[abs(row)][0] = text + '"' if row < 0 else '"' + text
    return "\n".join(["text\tlabel", *("\t".join(line) for line in lines)])


GOOD = {  # and the classes that are found
    "semicolons": (csv(sep=";"), sorted(NAMES)),
    "tabs in .csv": (csv(sep="\t"), sorted(NAMES)),
    "pipes": (csv(sep="|"), sorted(NAMES)),
    "UTF-16": (csv(encoding="utf-16", text=[f"né {i}" for i in range(60)]), sorted(NAMES)),
    "UTF-8 with a mark": (csv(encoding="utf-8-sig"), sorted(NAMES)),
    "whole floats": (csv(label=[5.0, 3.0, 10.0] * 20), ["3", "5", "10"]),
    "negative numbers": (jsonl(label=[1, 0, -1] * 20), ["-1", "0", "1"]),
    "halves": (parquet(label=[0.5, 10.0, 2.5] * 20), ["0.5", "2.5", "10.0"]),
    "booleans": (csv(label=[True, False] * 30), ["False", "True"]),
    "booleans in JSON": (jsonl(label=[True, False] * 30), ["False", "True"]),
    "booleans in Parquet": (parquet(label=[True, False] * 30), ["False", "True"]),
    "words for missing": (csv(label=["None", "NA", "nan"] * 20), ["NA", "None", "nan"]),
    "a text null": (csv(text=["null", *TEXTS[1:]]), sorted(NAMES)),
    "leading zeros": (csv(label=["02", "01", "10"] * 20), ["01", "02", "10"]),
    "JSON array": (raw("a.json", frame().to_json(orient="records")), sorted(NAMES)),
    "capitals": (csv("DATA.CSV"), sorted(NAMES)),
    "brackets": (csv("reviews [1] (2).csv"), sorted(NAMES)),
    "line breaks": (csv(text=[f"one, {i}\ntwo; three" for i in range(60)]), sorted(NAMES)),
    "a ClassLabel": (hub_like(), NAMES),
    "a split called dev": (folder(train=NAMES * 20, dev=NAMES * 20), sorted(NAMES)),
    "a test split without labels": (folder(train=NAMES * 20, test=""), sorted(NAMES)),
}


@pytest.mark.parametrize("case", GOOD)
def test_good_data(load, tmp_path, case):
    """Every format is read as it was written: no text is lost, labels are names."""
    write, classes = GOOD[case]
    cells = load(write(tmp_path))
    assert cells["class_names"] == classes
    assert cells["counts"].to_numpy().sum() % 60 == 0 and len(cells["splits"]) == 3


PINK = folder(train=NAMES * 20, validation=NAMES * 20, test=["pink", *NAMES[1:]] * 20)
BAD = {
    "no such file": (lambda path: path / "missing.csv", "no file or folder"),
    "a spreadsheet": (raw("data.xlsx", b"PK"), "none of"),
    "Windows-1252": (csv(encoding="cp1252", text=["né"] * 60), "UTF-8"),
    "stray quotation marks": (raw("data.tsv", quoted(*range(0, 60, 10))), "quotation marks"),
    "a pair of stray ones": (raw("data.tsv", quoted(3, -7)), "stray quotation mark"),
    "ragged rows": (raw("data.csv", 'text,label\na,1\nb,2,3,4\n"c'), "cannot|unexpected|expected"),
    "a field too many": (raw("data.csv", "text,label\n" + "so, so,1\nno, no,2\n" * 30), "header"),
    "torn JSON": (raw("data.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "la'), "JSON"),
    "an empty file": (raw("data.csv", ""), "data.csv"),
    "a header only": (raw("data.csv", "text,label\n"), "no train texts"),
    "no train split": (folder(test=NAMES * 20), "no train texts"),
    "another text column": (csv(text=None, tweet=TEXTS), "blank text"),
    "another column": (raw("a.csv", frame().rename(columns={"text": "t"}).to_csv()), r"\['.*'t'"),
    "an empty text": (hub_like(value=""), "test, row 5"),
    "control characters": (hub_like(value="\x00\x07\x1b"), "test, row 5"),
    "an invisible space": (hub_like(value="\u200b\u2028"), "test, row 5"),
    "a missing text": (hub_like(value=None), "test, row 5"),
    "numbers as texts": (jsonl(text=list(range(60))), "train, row 0"),
    "a missing label": (parquet(label=[*[1.0, 2.0] * 29, 1.0, None]), "train, row 59"),
    "an empty label": (csv(label=[*NAMES * 19, "red", "green", ""]), "train, row 59"),
    "a label that is no class": (hub_like("label", -1), "test, row 5"),
    "lists of labels": (jsonl(label=[[0, 1]] * 60), "train, row 0"),
    "a class of test only": (PINK, "pink"),
    "a class called label": (csv(label=["label", "b"] * 30), "rename"),
    "one class only": (csv(label="red"), "a second class"),
    "a class of one text": (csv(label=["red", *["green"] * 59]), "class 'red' has 1 of 60"),
    "20 texts of 3 classes": (raw("a.csv", frame()[:20].to_csv(index=False)), "has 6 of 20"),
    "3 texts to a class": (csv(label=[*range(20)] * 3), "has 3 of 60"),
    "copies in other splits": (folder(train=[*NAMES * 19, "red", "green", "pink"]), "'pink' has 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data(load, tmp_path, case):
    """Refused before training: the parameter with its value, what is wrong and what to do."""
    write, words = BAD[case]
    path = write(tmp_path)
    with pytest.raises(ValueError, match=f"(?s)^dataset_name = '.*{words}") as caught:
        load(path)
    assert repr(str(path)) in str(caught.value) and str(caught.value).count(".") > 1


def test_a_class_that_only_copies_had(load, tmp_path):
    """Its texts also stand in test, so none is left to train on."""
    folder(train=NAMES * 20, validation=NAMES * 20, test=NAMES * 20)(tmp_path)
    train, test = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("train", "test"))
    rows = pd.concat([train[train["label"] != "blue"], test[test["label"] == "blue"]])
    rows.to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(ValueError, match="train has no text of .*blue.*copies"):
        load(tmp_path)


def test_copies_share_a_split(load, tmp_path):
    """A rare class whose texts were multiplied stays in train, in different texts than in test."""
    rare = pd.DataFrame({"text": [f"rare {i}" for i in range(20)] * 10, "label": "rare"})
    frame().pipe(lambda rows: pd.concat([rows, rare])).to_csv(tmp_path / "a.csv", index=False)
    splits = load(tmp_path / "a.csv")["splits"]
    texts = [{*rows["text"]} for rows in splits.values()]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    assert sum(map(len, splits.values())) == 260, "no row was dropped as a leak"


def test_columns_and_seed(load, tmp_path):
    """Other columns, splits drawn in the classes' shares; the data's hash knows no seed."""
    stars = [2, 10, 5] * 40
    rows = pd.DataFrame({"stars": stars, "review": [f"review {n}" for n in range(120)], "x": 0})
    rows.to_csv(tmp_path / "reviews.csv", index=False)
    columns = {"text_column": "review", "label_column": "stars"}
    cells, other = (load(tmp_path / "reviews.csv", **columns, seed=seed) for seed in (1, 2))
    assert [len(part) for part in cells["splits"].values()] == [97, 12, 11]
    shares = cells["counts"] / cells["counts"].sum()
    assert shares.sub(1 / 3).abs().to_numpy().max() < 0.1
    named = pd.concat(cells["splits"].values()).set_index("text")["class"].astype(int).to_dict()
    assert named == rows.set_index("review")["stars"].to_dict()
    assert not cells["splits"]["test"].equals(other["splits"]["test"])
    assert cells["sources"] == other["sources"] and cells["sources"]["dataset_revision"] is None


def test_hash_changes_with_any_row(load, tmp_path):
    texts = (TEXTS, TEXTS, [*TEXTS[:-1], "another"])
    hashes = [load(csv(text=t)(tmp_path))["sources"]["dataset_sha256"] for t in texts]
    assert hashes[0] == hashes[1] != hashes[2]


def test_files_beside_a_program(load, tmp_path, monkeypatch):
    """`.` with a script of the folder's name beside the data, and results in a folder below."""
    project = tmp_path / "проект"
    (project / "outputs").mkdir(parents=True)
    csv("reviews.csv")(project), csv("predictions.csv")(project / "outputs")
    (project / "проект.py").touch()
    monkeypatch.chdir(project)
    assert load(".")["sources"]["dataset_name"] == "проект"
    monkeypatch.setenv("HOME", str(tmp_path))
    cells = load("~/проект/reviews.csv")
    assert cells["counts"].to_numpy().sum() == 60


ODD = ["a long story " * 7693, "🙂🙃🥲", "أنا سعيد جدا", "one\x00two\x1b[31m", "<b>bold</b>"]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_no_fault(load, tmp_path, text):
    assert load(hub_like(value=text)(tmp_path))["splits"]["test"]["text"].iloc[5] == text


def test_texts_reach_no_page_as_markup(notebook, setup):
    """Tables of texts are HTML; what tweets contain must not be."""
    show_texts = notebook.run("style", **setup)["show_texts"]
    page = show_texts(pd.DataFrame({"text": ["<script>alert(1)</script>"]})).to_html()
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_fewer_train_samples_keep_the_class_shares(load):
    """The original threw its stratified split away."""
    whole, part = load(SAMPLE), load(SAMPLE, max_train_samples=100)
    shares = [
        cells["splits"]["train"]["class"].value_counts(normalize=True) for cells in (whole, part)
    ]
    assert len(part["splits"]["train"]) == 100
    assert shares[0].sub(shares[1]).abs().max() < 0.01
    assert part["splits"]["test"].equals(whole["splits"]["test"])
    assert load(SAMPLE, max_train_samples=5000)["splits"]["train"].equals(whole["splits"]["train"])
    with pytest.raises(ValueError, match="max_train_samples = 5: "):
        load(SAMPLE, max_train_samples=5)


def test_contradicting_and_leaking_texts_leave_train(load, tmp_path):
    texts = {name: [f"{name} {text}" for text in TEXTS] for name in ("validation", "test")}
    texts |= {"train": ["twice", "twice", *TEXTS[2:59], texts["test"][0]]}
    for name, column in texts.items():
        rows = pd.DataFrame({"text": column, "label": ["red", "green"] * 30})
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    splits = load(tmp_path)["splits"]
    assert sorted(splits["train"]["text"]) == sorted(TEXTS[2:59])
    assert len(splits["test"]) == 60, "stays whole"


def test_texts_are_cut_but_never_padded(notebook, sample_cells):
    """The original padded every text to 128 tokens. Lengths are measured before cutting."""
    assert sample_cells["class_names"] == EMOTIONS
    rows = sample_cells["tokenised"]["train"]
    assert [len(ids) for ids in rows["input_ids"]] == rows["length"][:]
    assert sample_cells["tokenizer"].pad_token_id not in np.concatenate(rows["input_ids"][:])
    cut = notebook.run("lengths", "tokenise", **sample_cells | {"max_length": 8})
    assert max(cut["tokenised"]["train"]["length"]) == 8 < max(cut["lengths"])
    assert cut["lengths"].tolist() == rows["length"][:]


def test_figures_and_tables_with_odd_class_names(notebook, setup, load, tmp_path, recwarn):
    """A class called $$ is no formula; a name that no font here draws is shown as a number."""
    cells = load(csv(label=["$$", "高兴", "зелёный"] * 20)(tmp_path))
    assert cells["figure_names"] == ["$$", "зелёный", "class 2"]
    figure = notebook.run("distribution", **cells)["figure"]
    figure.savefig(tmp_path / "a.png")
    assert not [w for w in recwarn if re.search("Glyph|mathtext", str(w.message))]
