"""Metrics and intervals against scikit-learn and by hand; the table of all runs."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers import METRICS
from sklearn import metrics as sk


@pytest.fixture(scope="module")
def cells(notebook, setup):
    return notebook.run(*METRICS, **setup)


@pytest.fixture(scope="module")
def random_case():
    generator = np.random.default_rng(0)
    labels = generator.integers(6, size=500)
    exponentials = np.exp(generator.normal(size=(500, 6)) + 1.5 * np.eye(6)[labels])
    return labels, exponentials / exponentials.sum(axis=1, keepdims=True)


def test_against_scikit_learn(cells, random_case):
    labels, probabilities = random_case
    predicted = probabilities.argmax(axis=1)
    averages = sk.precision_recall_fscore_support(labels, predicted, average="weighted")[:3]
    names = ("weighted_precision", "weighted_recall", "weighted_f1")
    expected = dict(zip(names, averages, strict=True))
    expected["accuracy"] = sk.accuracy_score(labels, predicted)
    expected["macro_f1"] = sk.f1_score(labels, predicted, average="macro")
    assert cells["label_metrics"](labels, predicted) == pytest.approx(expected)
    expected = {"log_loss": sk.log_loss(labels, probabilities)}
    for average in ("weighted", "macro"):
        options = {"multi_class": "ovr", "average": average}
        expected[f"{average}_roc_auc"] = sk.roc_auc_score(labels, probabilities, **options)
    assert cells["probability_metrics"](labels, probabilities) == pytest.approx(expected)


def test_hard_labels_are_refused(cells, random_case):
    """The original took ROC-AUC from hard labels."""
    labels, probabilities = random_case
    with pytest.raises(ValueError, match="not hard labels"):
        cells["probability_metrics"](labels, np.eye(6)[probabilities.argmax(axis=1)])


def test_calibration_by_hand(notebook):
    """Ten texts at confidence 0.9, eight right; ten at 0.6, none right."""
    given = {"np": np, "pd": pd, "test_labels": np.zeros(20, bool)}
    given["test_probabilities"] = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    bins = notebook.run("calibration", **given, test_predicted=np.arange(20) >= 8)["bins"]
    assert bins["confidence"].tolist() == pytest.approx([0.6] * 5 + [0.9] * 5)
    assert bins["accuracy"][:5].tolist() == [0] * 5 and bins["accuracy"][5:].mean() == 0.8
    assert (bins["low"] <= bins["accuracy"]).all() and (bins["accuracy"] <= bins["high"]).all()


def test_intervals_hold_the_value_and_have_the_binomial_width(cells, random_case):
    table = cells["evaluate"](*random_case)
    assert len(table) == 8 and (table["low"] < table["high"]).all()
    for name in ("accuracy", "macro_f1", "weighted_roc_auc", "log_loss"):
        assert table["low"][name] < table["value"][name] < table["high"][name]
    low, value, high = table.loc["accuracy", ["low", "value", "high"]]
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(value * (1 - value) / 500), rel=0.15)


@pytest.mark.filterwarnings("error")
def test_intervals_of_a_tiny_split(cells, random_case):
    """Some draws miss the rare class: ROC-AUC is not defined on them."""
    labels, probabilities = random_case
    rows = np.concatenate([np.flatnonzero(labels == 0)[:12], np.flatnonzero(labels == 5)[:2]])
    two = probabilities[rows][:, [0, 5]]
    table = cells["evaluate"]((labels[rows] > 0).astype(int), two / two.sum(axis=1, keepdims=True))
    assert np.isfinite(table.to_numpy()).all()
    table = cells["evaluate"](labels, probabilities, resamples=0)
    assert table["value"].notna().all() and table[["low", "high"]].isna().all(axis=None), "no draw"


def test_runs_are_grouped_by_recipe(notebook, setup, tmp_path):
    names = ("accuracy", "macro_f1", "weighted_roc_auc", "log_loss")
    runs = [(1, 2, 0.92), (2, 2, 0.94), (3, 2, 0.93), (1, 3, 0.9), (1, 3, 0.9)]
    for number, (seed, epochs, accuracy) in enumerate(runs):
        record = {"parameters": setup["parameters"] | {"seed": seed, "num_epochs": epochs}}
        record |= {"recipe": f"recipe {epochs}", "test": dict.fromkeys(names, accuracy)}
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "metrics.json").write_text(json.dumps(record))
    (tmp_path / "metrics.json").write_text('{"accuracy": 1.0}')  # of another program
    given = setup | {"output_dir": str(tmp_path), "settings": setup["parameters"]}
    cells = notebook.run("runs", **given)
    assert cells["varied"] == ["parameters.num_epochs"]
    table = cells["runs"].groupby("recipe")["test.accuracy"].agg(["count", "mean"])
    assert table.to_numpy().tolist() == [[3, pytest.approx(0.93)], [1, 0.9]], (
        "equal runs count once"
    )
