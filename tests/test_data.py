"""Data of the user's own: read, named and checked before training; drawn splits and samples."""

import gzip
import json

import datasets
import numpy as np
import pandas as pd
import pytest
from helpers import EMOTIONS, SAMPLE

NAMES = ["red", "green", "blue"]
TEXTS = [f"text number {number}" for number in range(60)]


@pytest.fixture
def load(notebook, minilm_folder, monkeypatch, tmp_path_factory):
    """Load a file or folder through the notebook's cells, up to the audit."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("prepared"))

    def load(path, **parameters):
        given = {"dataset_name": str(path), "model_name": str(minilm_folder), **parameters}
        return notebook.up_to("classes-left", **given)

    return load


def frame(**columns):
    """Sixty texts of three classes, or other columns."""
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


def quoted(*rows, columns=("text", "label"), end="\n"):
    """A table whose texts begin (or, if negative, end) with a lone quotation mark."""
    table = frame(id=[f"no. {number}" for number in range(60)])
    for row in rows:
        text = table.loc[abs(row), "text"]
        table.loc[abs(row), "text"] = text + '"' if row < 0 else '"' + text
    return raw("data.tsv", end.join(map("\t".join, [columns, *table[[*columns]].to_numpy()])))


def link(path):
    (path / "store").mkdir()
    (path / "data.csv").symlink_to(csv("1f2e3d.csv")(path / "store"))
    return path / "data.csv"


def bare_commas(*columns):
    rows = frame(text=[f"well, {text}" for text in TEXTS])[[*(columns or ("text", "label"))]]
    return raw("a.csv", "\n".join(",".join(row) for row in [rows.columns, *rows.to_numpy()]))


def other_column_quoted(path):
    """A title that begins with a lone quotation mark, twice: pandas would skip the rows between."""
    rows = frame(title="a title").assign(text=TEXTS)[["title", "text", "label"]]
    rows.loc[[10, 40], "title"] = '"a title'
    return raw("a.tsv", "\n".join("\t".join(row) for row in [rows, *rows.to_numpy()]))(path)


def other_numbers(path):
    """Files that were each encoded by themselves: the second lacks a class."""
    for split, names in {"train": NAMES, "test": NAMES[1:]}.items():
        kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
        rows = {"text": TEXTS[: 20 * len(names)], "label": [*range(len(names))] * 20}
        table = datasets.Dataset.from_dict(rows, features=datasets.Features(kinds))
        table.to_parquet(path / f"{split}.parquet")
    return path


def in_a_subfolder(path):
    """An older version of the data below the newer one."""
    (path / "old").mkdir()
    beside(csv("train.csv"), csv("test.csv"))(path)
    return beside(csv("test.csv"))(path / "old").parent


def beside(*writers):
    """Several files in one folder."""

    def write(path):
        for writer in writers:
            writer(path)
        return path

    return write


GOOD = {  # and the classes that are found
    "semicolons": (csv(sep=";"), sorted(NAMES)),
    "tabs in .csv": (csv(sep="\t"), sorted(NAMES)),
    "pipes": (csv(sep="|"), sorted(NAMES)),
    "UTF-8 with a mark": (csv(encoding="utf-8-sig"), sorted(NAMES)),
    "negative numbers": (jsonl(label=[1, 0, -1] * 20), ["-1", "0", "1"]),
    "booleans": (csv(label=[True, False] * 30), ["False", "True"]),
    "booleans in JSON": (jsonl(label=[True, False] * 30), ["False", "True"]),
    "numbers in Parquet": (parquet(label=[0.5, 10.0, 2.5] * 20), ["0.5", "10.0", "2.5"]),
    "words for missing": (csv(label=["None", "NA", "nan"] * 20), ["NA", "None", "nan"]),
    "a text null": (csv(text=["null", *TEXTS[1:]]), sorted(NAMES)),
    "leading zeros": (csv(label=["02", "01", "10"] * 20), ["01", "02", "10"]),
    "JSON array": (raw("a.json", frame().to_json(orient="records")), sorted(NAMES)),
    "compressed": (raw("a.csv.gz", gzip.compress(frame().to_csv().encode())), sorted(NAMES)),
    "a link": (link, sorted(NAMES)),
    "brackets": (csv("reviews [1] (2).csv"), sorted(NAMES)),
    "a delimiter at the end of each row": (
        raw("a.csv", frame().to_csv(index=False, lineterminator=",\n")),
        sorted(NAMES),
    ),
    "amounts behind a line break": (
        csv(text=[f"{text}\n5,000 dollars" for text in TEXTS], label=[1, 3, 5] * 20),
        ["1", "3", "5"],
    ),
    "line breaks": (csv(text=[f"in {i}, red\nblue, two; three" for i in range(60)]), sorted(NAMES)),
    "a long field": (csv(text=["a long story " * 12000, *TEXTS[1:]]), sorted(NAMES)),
    "commas in labels": (csv(label=["up, up", "down", "so|so"] * 20), ["down", "so|so", "up, up"]),
    "a ClassLabel": (hub_like(), NAMES),
    "a split called dev": (folder(train=NAMES * 20, dev=NAMES * 20), sorted(NAMES)),
    "a file called eval": (folder(train=NAMES * 20, eval=NAMES * 20), sorted(NAMES)),
}


@pytest.mark.parametrize("case", GOOD)
def test_good_data(load, tmp_path, case):
    """Every format is read as it was written: no text is lost, labels are names."""
    write, classes = GOOD[case]
    cells = load(write(tmp_path))
    assert cells["class_names"] == classes
    assert cells["counts"].to_numpy().sum() % 60 == 0 and len(cells["splits"]) == 3


def test_files_beside_the_data_are_passed_over_and_named(load, tmp_path, capsys):
    """README beside data/, a licence, an Apple file, a split that load_dataset does not know."""
    (tmp_path / "data").mkdir()
    frame().to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    raw("._train.parquet", b"\x00\x05\x16\x07")(tmp_path / "data")
    beside(raw("README.md", "# Me"), raw("LICENSE.txt", "free"), csv("TestSet.csv"))(tmp_path)
    assert load(tmp_path)["counts"].to_numpy().sum() == 60
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("TestSet.csv", "LICENSE.txt", "README.md"))


PINK = folder(train=NAMES * 20, validation=NAMES * 20, test=["pink", *NAMES[1:]] * 20)
BAD = {
    "no such file": (lambda path: path / "missing.csv", "no path"),
    "a spreadsheet": (raw("data.xlsx", b"PK"), "supported"),
    "Windows-1252": (csv(encoding="cp1252", text=["né"] * 60), "utf-8"),
    "stray quotation marks": (quoted(*range(0, 60, 10)), "stray quotation mark"),
    "a lone one": (quoted(3), "up to line 61: a stray quotation mark"),
    "a pair from Windows": (quoted(3, -7, end="\r\n"), "row 3: a stray quotation mark"),
    "in the row behind": (quoted(3, -4, columns=("id", "text", "label")), "row 3: a stray"),
    "with labels in between": (quoted(3, -7, columns=("text", "label", "id")), "row 3: a stray"),
    "ragged rows": (raw("data.csv", "text,label\na,1\nb,2,3,4\n"), "line 3: more fields"),
    "bare commas": (bare_commas(), "line 2: more fields"),
    "a bare comma in the label's place": (bare_commas("label", "text"), "line 2: more fields"),
    "a quotation mark in another column": (other_column_quoted, "stray quotation mark"),
    "torn JSON": (raw("data.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "la'), "JSON"),
    "an empty file": (raw("data.csv", ""), "No columns"),
    "a header only": (raw("data.csv", "text,label\n"), "no data"),
    "no train split": (folder(test=NAMES * 20), "no train split"),
    "another column": (raw("a.csv", frame().rename(columns={"text": "t"}).to_csv()), r"\['.*'t'"),
    "an empty text": (hub_like(value=""), "test, row 5"),
    "a missing text": (hub_like(value=None), "test, row 5"),
    "numbers as texts": (jsonl(text=list(range(60))), "train, row 0"),
    "a missing label": (parquet(label=[*[1.0, 2.0] * 29, 1.0, None]), "train, row 59"),
    "an empty label": (csv(label=[*NAMES * 19, "red", "green", ""]), "train, row 59"),
    "a label that is no class": (hub_like("label", -1), "test, row 5"),
    "lists of labels": (jsonl(label=[[0, 1]] * 60), "train, row 0"),
    "lists in CSV": (csv(label=["['glad']", "['sad', 'glad']"] * 30), "train, row 0"),
    "several labels in one": (csv(label=["glad", "sad", "glad|sad"] * 20), "row 2: several"),
    "a class of test only": (PINK, "test, row 0: a class"),
    "a class called label": (csv(label=["label", "b"] * 30), "rename"),
    "one class only": (csv(label="red"), "only one"),
    "3 texts to a class": (csv(label=[*range(20)] * 3), "no validation split: n_splits"),
    "an unlabelled test split": (
        beside(csv("train.csv"), raw("test.csv", "\n".join(["text", *TEXTS]))),
        "test, row 0: no label",
    ),
    "CSV beside TSV": (beside(csv("train.csv"), csv("train.tsv", sep="\t")), "train.tsv"),
    "classes numbered by file": (other_numbers, "number the classes differently"),
    "an older version in a subfolder": (in_a_subfolder, "old/test.csv"),
    "two train files": (folder(train=NAMES * 20, train_small=NAMES * 20), "train_small.csv"),
    "two development sets": (folder(train=NAMES * 20, dev_a=NAMES * 20, dev_b=NAMES * 20), "dev_b"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data(load, tmp_path, case):
    """Refused before training, with the parameter, its value and what is wrong."""
    write, words = BAD[case]
    path = write(tmp_path)
    with pytest.raises(ValueError, match=f"(?s)^dataset_name = '.*({words})") as caught:
        load(path)
    assert repr(str(path)) in str(caught.value)


def test_unknown_configuration_is_named_with_those_there_are(load, tmp_path):
    with pytest.raises(ValueError, match="dataset_config = 'de'.*default"):
        load(csv()(tmp_path), dataset_config="de")


def test_cache_that_cannot_be_written_is_named(load, tmp_path, monkeypatch):
    path = parquet()(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", path / "no folder")
    with pytest.raises(ValueError, match="^dataset_name = .*HF_HOME = .*Not a directory"):
        load(path)


def test_results_are_not_read_as_data(load, tmp_path, monkeypatch):
    """load_dataset goes down into folders, also into the predictions of an earlier run."""
    csv("reviews.csv")(tmp_path)
    (tmp_path / "outputs").mkdir()
    csv("predictions.csv")(tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"dataset_name = '\.' contains output_dir"):
        load(".")
    assert load("reviews.csv")["counts"].to_numpy().sum() == 60
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert load(f"~/{tmp_path.name}/reviews.csv")["counts"].to_numpy().sum() == 60


def test_a_class_that_only_copies_had(load, tmp_path):
    """Its texts also stand in test, so none is left to train on."""
    folder(train=NAMES * 20, validation=NAMES * 20, test=NAMES * 20)(tmp_path)
    train, test = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("train", "test"))
    rows = pd.concat([train[train["label"] != "blue"], test[test["label"] == "blue"]])
    rows.to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(ValueError, match="dataset_name = .*too few classes are left"):
        load(tmp_path)


def test_copies_share_a_split(load, tmp_path):
    """Also copies that only the tokenizer takes for such: capitals, and an end that is cut."""
    texts = [f"{colour} word {i} and so on for" for i in range(40) for colour in NAMES]
    copies = [*texts, *map(str.upper, texts), *(f"{text} ever" for text in texts)]
    pd.DataFrame({"text": copies, "label": NAMES * 120}).to_csv(tmp_path / "a.csv", index=False)
    splits = load(tmp_path / "a.csv", max_length=8)["splits"].values()
    assert sum(map(len, splits)) == 360, "no row was dropped as a leak"
    train, *held_out = ({" ".join(t.lower().split()[:3]) for t in rows["text"]} for rows in splits)
    assert not train & held_out[0] and not train & held_out[1] and not held_out[0] & held_out[1]


def test_columns_and_seed(load, tmp_path):
    """Other columns, splits drawn in the classes' shares; the data's hash knows no seed."""
    stars = [2, 10, 5] * 40
    rows = pd.DataFrame({"stars": stars, "review": [f"review {n}" for n in range(120)], "x": 0})
    rows.to_csv(tmp_path / "reviews.csv", index=False)
    columns = {"text_column": "review", "label_column": "stars"}
    cells, other = (load(tmp_path / "reviews.csv", **columns, seed=seed) for seed in (1, 2))
    sizes = [len(part) for part in cells["splits"].values()]
    assert sum(sizes) == 120 and sizes[1:] == pytest.approx([12, 11], abs=2)
    shares = cells["counts"] / cells["counts"].sum()
    assert shares.sub(1 / 3).abs().to_numpy().max() < 0.15
    named = pd.concat(cells["splits"].values()).set_index("text")["class"].astype(int).to_dict()
    assert named == rows.set_index("review")["stars"].to_dict()
    assert not cells["splits"]["test"].equals(other["splits"]["test"])
    assert cells["sources"] == other["sources"] and cells["sources"]["dataset_revision"] is None


def test_hash_changes_with_any_row(load, tmp_path):
    texts = (TEXTS, TEXTS, [*TEXTS[:-1], "another"])
    hashes = [load(csv(text=t)(tmp_path))["sources"]["dataset_sha256"] for t in texts]
    assert hashes[0] == hashes[1] != hashes[2]


ODD = ["a long story " * 7693, "🙂🙃🥲", "أنا سعيد جدا", "one\x00two\x1b[31m", "<b>bold</b>"]


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_no_fault(load, tmp_path, text):
    assert load(hub_like(value=text)(tmp_path))["splits"]["test"]["text"].iloc[5] == text


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


def test_folder_below_snapshots_is_no_revision(load, tmp_path):
    """The Hub's cache keeps its revisions in folders of this name."""
    data = tmp_path / "snapshots" / "2024"
    data.mkdir(parents=True)
    sources = load(folder(train=NAMES * 20, test=NAMES * 20)(data))["sources"]
    assert sources["dataset_name"] == "2024" and sources["dataset_revision"] is None


def test_contradicting_and_leaking_texts_leave_train(load, tmp_path, capsys):
    """Texts that differ in capitals only are the same to an uncased tokenizer."""
    texts = {name: [f"{name} {text}" for text in TEXTS] for name in ("validation", "test")}
    leak = texts["test"][0].upper()
    texts |= {"train": ["twice", "Twice", *TEXTS[2:58], leak, leak]}
    for name, column in texts.items():
        rows = pd.DataFrame({"text": column, "label": NAMES * 20})
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    splits = load(tmp_path)["splits"]
    assert sorted(splits["train"]["text"]) == sorted(TEXTS[2:58])
    assert len(splits["test"]) == 60, "stays whole"
    assert "test: 1 texts also in train, 1 with another label" in capsys.readouterr().out


def test_texts_are_cut_but_never_padded(notebook, sample_cells):
    """The original padded every text to 128 tokens."""
    assert sample_cells["class_names"] == EMOTIONS
    rows = sample_cells["tokenised"]["train"]
    assert [len(ids) for ids in rows["input_ids"]] == rows["length"][:]
    assert sample_cells["tokenizer"].pad_token_id not in np.concatenate(rows["input_ids"][:])
    given = sample_cells | {"max_length": 8, "texts": sample_cells["texts"][["text", "class"]]}
    assert notebook.run("tokenise", **given)["texts"]["length"].max() == 8


def planted(tossed):
    """Texts of four classes that a word tells, and some whose only word of note is of two."""
    generator = np.random.default_rng(0)
    labels = [*["calm", "glad", "mad", "sad"] * 200, *generator.choice(["calm", "glad"], tossed)]
    words = [f"{label}ly" for label in labels[:800]] + ["dusk"] * tossed
    fill = generator.choice(["the", "by", "and", "on", "a", "so"], (len(labels), 4))
    texts = [f"{' '.join(fill[i])} {word} {i}" for i, word in enumerate(words)]
    return csv(text=texts, label=labels)


def test_planted_coin_word_is_found_alone(load, tmp_path):
    """Most texts without a clear word have it, so common words share its classes there."""
    cells = load(planted(60)(tmp_path))
    (row,) = cells["coin_table"].to_dict("records")
    assert row["word"] == "dusk" and {*row["classes"]} == {"calm", "glad"}
    assert sum(row["shares"]) == pytest.approx(1) and row["texts"] >= 15
    test = cells["splits"]["test"]["text"]
    assert cells["test_hangs"].tolist() == test.str.contains("dusk").tolist()
    assert cells["hangs_on_coin"](["dusk", "dusk, madly", "the"]).tolist() == [True, False, False]


def test_frequent_pair_of_classes_is_no_coin(load, tmp_path):
    """A word that says nothing, in a data set of which two classes make up nine tenths."""
    generator = np.random.default_rng(0)
    labels = generator.choice(["a", "b", "c", "d"], 900, p=[0.46, 0.44, 0.05, 0.05])
    texts = [f"word {'common' if i % 9 == 0 else 'plain'} {i}" for i in range(900)]
    cells = load(csv(text=texts, label=labels)(tmp_path))
    assert not len(cells["coin_table"]) and not cells["test_hangs"].any()


def test_data_without_a_coin_word_says_so(load, tmp_path, capsys):
    cells = load(planted(0)(tmp_path))
    assert not len(cells["coin_table"]) and "No word's label" in capsys.readouterr().out


def one_word_accuracy(notebook, cells):
    """The share of test texts that the classifier of one word gets right."""
    given = cells | {"train_labels": cells["splits"]["train"]["label"].to_numpy()}
    predicted = notebook.run("one-word", **given)["one_word_probabilities"].argmax(axis=1)
    return (predicted == cells["splits"]["test"]["label"]).mean()


def test_baseline_reads_scripts_without_spaces(load, notebook, tmp_path):
    """Chinese sentences whose class one letter tells."""
    tell, fill = "星木禾", "人大山国主日野年中王江"  # letters of the vocabulary
    parts = np.random.default_rng(0).choice([*fill], (360, 9))
    texts = ["".join([*part[:4], tell[i % 3], *part[4:]]) for i, part in enumerate(parts)]
    cells = load(csv(text=texts, label=[*tell] * 120)(tmp_path))
    assert {*tell} <= {*cells["words"]} and one_word_accuracy(notebook, cells) == 1


def test_coin_words_of_the_real_data(real_data, notebook):
    """The figures that the notebook and README build on."""
    assert len(real_data["coin_table"]) == 21 and real_data["test_hangs"].sum() == 223
    assert {"sweet", "weird"} <= {*real_data["coin_table"]["word"]}
    assert one_word_accuracy(notebook, real_data) == pytest.approx(0.9, abs=0.005)
