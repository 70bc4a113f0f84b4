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
    names = ("precision", "recall", "f1")
    weighted = sk.precision_recall_fscore_support(labels, predicted, average="weighted")
    expected = {f"weighted_{name}": value for name, value in zip(names, weighted, strict=False)}
    expected |= {
        "accuracy": sk.accuracy_score(labels, predicted),
        "macro_f1": sk.f1_score(labels, predicted, average="macro"),
    }
    assert cells["label_metrics"](labels, predicted) == pytest.approx(expected)
    assert expected["weighted_recall"] == pytest.approx(expected["accuracy"]), "by definition"
    measured = cells["probability_metrics"](labels, probabilities)
    auc = {
        f"{average}_roc_auc": sk.roc_auc_score(
            labels, probabilities, multi_class="ovr", average=average
        )
        for average in ("weighted", "macro")
    }
    assert measured == pytest.approx(auc | {"log_loss": sk.log_loss(labels, probabilities)})


def test_hard_labels_are_refused(cells, random_case):
    """The original took ROC-AUC from hard labels."""
    labels, probabilities = random_case
    with pytest.raises(ValueError, match="not hard labels"):
        cells["probability_metrics"](labels, np.eye(6)[probabilities.argmax(axis=1)])


def test_calibration_by_hand(notebook):
    """Ten texts at confidence 0.9, eight right; ten at 0.6, none right; then three texts only."""
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    right = np.arange(20) < 8
    given = {"np": np, "pd": pd, "test_probabilities": probabilities, "test_predicted": ~right}
    bins = notebook.run("calibration", **given, test_labels=np.zeros(20, dtype=bool))["bins"]
    assert bins["confidence"].tolist() == pytest.approx([0.6] * 5 + [0.9] * 5)
    assert bins["accuracy"].mean() == 0.4 and bins["accuracy"][:5].tolist() == [0] * 5
    assert (bins["low"] <= bins["accuracy"]).all() and (bins["accuracy"] <= bins["high"]).all()
    few = {name: given[name][:3] for name in ("test_probabilities", "test_predicted")}
    bins = notebook.run("calibration", **given | few, test_labels=np.zeros(3, dtype=bool))["bins"]
    assert bins["accuracy"].tolist() == [1, 1, 1]


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


@pytest.fixture
def runs(notebook, setup, tmp_path):
    """Write the metrics of runs, (seed, epochs, accuracy) each; return the table of all runs."""

    def runs(*given):
        names = ("accuracy", "macro_f1", "weighted_roc_auc", "log_loss")
        for number, (seed, epochs, accuracy) in enumerate(given):
            parameters = setup["parameters"] | {"seed": seed, "num_epochs": epochs}
            record = {"recipe": f"recipe {epochs}", "parameters": parameters}
            record["test"] = dict.fromkeys(names, accuracy)
            (tmp_path / "runs" / str(number)).mkdir(parents=True)
            (tmp_path / "runs" / str(number) / "metrics.json").write_text(json.dumps(record))
        (tmp_path / "metrics.json").write_text('{"accuracy": 1.0}')  # of another program
        cells = notebook.cells["runs"].source
        table = cells.replace("runs.groupby", "table = runs.groupby")
        given = setup | {"output_dir": str(tmp_path), "settings": setup["parameters"]}
        exec(compile(table, "<cell runs>", "exec"), given)
        return given["table"]

    return runs


def test_runs_are_grouped_by_recipe(runs):
    table = runs((1, 2, 0.92), (2, 2, 0.94), (3, 2, 0.93), (1, 3, 0.9), (1, 3, 0.9))
    assert table.columns.names == ["recipe", "parameters.num_epochs"]
    two, three = (table[column]["test.accuracy"] for column in table)
    assert two.tolist() == [3, 0.93, 0.01], "sample standard deviation"
    assert three.tolist()[:2] == [1, 0.9] and np.isnan(three["std"]), "the same run counts once"
