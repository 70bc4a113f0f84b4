"""The sample: written for this project, varied, in the shares of the real data."""

import itertools
import re

import pandas as pd
import pytest
from helpers import ROOT

SHARES = {"joy": 0.335, "sadness": 0.292, "anger": 0.135, "fear": 0.121, "love": 0.082}


@pytest.fixture(scope="module")
def splits():
    folder = ROOT / "tests" / "sample"
    return {name: pd.read_csv(folder / f"{name}.csv") for name in ("train", "validation", "test")}


def test_size_and_shares(splits):
    rows = pd.concat(splits.values())
    assert len(rows) >= 600 and (rows["label"] == "surprise").sum() >= 40
    assert (rows["text"] == rows["text"].str.lower()).mean() > 1 / 3, "as people type"
    for split in splits.values():
        shares = split["label"].value_counts(normalize=True)
        assert len(shares) == 6
        for name, share in SHARES.items():
            assert shares[name] == pytest.approx(share, abs=0.03)


def shingles(text):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def test_no_two_alike(splits):
    texts = pd.concat(splits.values())["text"]
    for a, b in itertools.combinations(map(shingles, texts), 2):
        assert len(a & b) / len(a | b) < 0.7


def test_none_from_the_data_set(splits, real_data):
    def plain(text):
        return " ".join(re.findall(r"[a-z]+", text.lower().replace("'", "")))

    real = {plain(text) for rows in real_data["splits"].values() for text in rows["text"]}
    assert not real & {plain(text) for text in pd.concat(splits.values())["text"]}
