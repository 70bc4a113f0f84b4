"""Metrics, intervals and the logit adjustment, against scikit-learn and by hand; all runs."""

import json

import numpy as np
import pandas as pd
import pytest
import seeds
from helpers import EMOTIONS
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

METRICS = ["label-metrics", "probability-metrics", "all-metrics", "share", "bootstrap"]
METRICS += ["with-intervals"]


@pytest.fixture(scope="module")
def cells(notebook, setup):
    return notebook.run(*METRICS, **setup)


@pytest.fixture(scope="module")
def random_case():
    generator = np.random.default_rng(0)
    labels = generator.integers(6, size=500)
    exponentials = np.exp(generator.normal(size=(500, 6)) + 1.5 * np.eye(6)[labels])
    return labels, exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def draws(cells, random_case):
    return cells["bootstrap"](*random_case)


def test_against_scikit_learn(cells, random_case):
    labels, probabilities = random_case
    predicted = probabilities.argmax(axis=1)
    averages = sk.precision_recall_fscore_support(labels, predicted, average="weighted")[:3]
    names = ("weighted_precision", "weighted_recall", "weighted_f1")
    expected = dict(zip(names, averages, strict=True))
    expected["accuracy"] = sk.accuracy_score(labels, predicted)
    expected["macro_f1"] = sk.f1_score(labels, predicted, average="macro")
    expected["log_loss"] = sk.log_loss(labels, probabilities)
    for average in ("weighted", "macro"):
        options = {"multi_class": "ovr", "average": average}
        expected[f"{average}_roc_auc"] = sk.roc_auc_score(labels, probabilities, **options)
    assert cells["all_metrics"](labels, probabilities) == pytest.approx(expected)


def test_hard_labels_are_refused(cells, random_case):
    """The original took ROC-AUC from hard labels."""
    labels, probabilities = random_case
    with pytest.raises(ValueError, match="not hard labels"):
        cells["probability_metrics"](labels, np.eye(6)[probabilities.argmax(axis=1)])


@pytest.mark.filterwarnings("error")
def test_class_that_a_split_lacks(cells, random_case):
    """The metrics are those of the other classes; JSON has no NaN."""
    labels, probabilities = (part[random_case[0] != 2] for part in random_case)
    table = cells["with_intervals"](cells["bootstrap"](labels, probabilities))
    assert np.isfinite(table.to_numpy()).all()
    others = [0, 1, 3, 4, 5]
    areas = [sk.roc_auc_score(labels == index, probabilities[:, index]) for index in others]
    assert table["value"]["macro_roc_auc"] == pytest.approx(np.mean(areas))
    predicted = probabilities.argmax(axis=1)
    f1 = sk.f1_score(labels, predicted, average="macro", labels=others)
    assert table["value"]["macro_f1"] == pytest.approx(f1)
    assert cells["share"](np.array([], bool)) == {}


@pytest.mark.filterwarnings("error")
def test_intervals_of_a_tiny_split(cells):
    """Thirty classes with a text each: every draw lacks some, and has an interval all the same."""
    probabilities = np.random.default_rng(0).dirichlet(np.ones(30), size=30)
    draws = cells["bootstrap"](np.arange(30), probabilities)
    assert len(draws) > 990 and np.isfinite(cells["with_intervals"](draws).to_numpy()).all()


def test_intervals_hold_the_value_and_have_the_binomial_width(cells, random_case, draws):
    table = cells["with_intervals"](draws)
    assert len(table) == 8 and (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()
    low, value, high = table.loc["accuracy", ["low", "value", "high"]]
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(value * (1 - value) / 500), rel=0.15)
    wilson = cells["share"](random_case[1].argmax(axis=1) == random_case[0])
    assert [wilson["low"], wilson["high"]] == pytest.approx([low, high], abs=0.01)


def test_difference_is_paired(cells, random_case, draws):
    """A model that is right on five texts more: narrower than the intervals of both."""
    labels, probabilities = random_case
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)[:5]
    better = probabilities.copy()
    better[wrong] = np.eye(6)[labels[wrong]]
    difference = cells["bootstrap"](labels, better) - draws
    low, high = cells["with_intervals"](difference).loc["accuracy", ["low", "high"]]
    assert 0 < low < 5 / 500 < high < 0.025


def test_logit_adjustment_against_real_trainings(notebook, setup):
    """Logistic regression with each weighting, on classes in unequal shares that overlap."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [3000, 700, 200])
    points = generator.normal(size=(len(labels), 2)) + 1.5 * np.eye(3)[labels][:, :2]
    frame = pd.DataFrame({"label": labels, "class": labels})
    given = setup | {"splits": {"train": frame}, "class_names": ["a", "b", "c"]}
    recalls = {}
    for weighting in ("none", "sqrt", "balanced"):
        cells = notebook.run(
            "class-weights", "reweighted", **given | {"class_weighting": weighting}
        )
        weights = dict(enumerate(cells["class_weights"]))
        model = LogisticRegression(class_weight=weights).fit(points, labels)
        for target in ("none", "sqrt", "balanced"):
            adjusted = cells["reweighted"](model.predict_proba(points), target)
            recall = sk.recall_score(labels, adjusted.argmax(axis=1), average=None)
            recalls[weighting, target] = recall
            np.testing.assert_allclose(adjusted.sum(axis=1), 1)
    for target in ("none", "sqrt", "balanced"):
        for weighting in ("none", "sqrt", "balanced"):
            difference = recalls[weighting, target] - recalls[target, target]
            assert np.abs(difference).max() < 0.08, "about as trained with the target itself"
    rare = [recalls["sqrt", target][2] for target in ("none", "sqrt", "balanced")]
    assert rare[0] + 0.1 < rare[1] < rare[2] - 0.1


def test_calibration_by_hand(notebook, cells):
    """Ten texts at confidence 0.9, eight right; ten at 0.6, none right."""
    given = cells | {"correct": np.arange(20) // 2 * 2 < 8}
    given["test_probabilities"] = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    left = notebook.run("calibration", "selective", **given)
    bins, selective = left["bins"], left["selective"]
    assert bins["confidence"].tolist() == pytest.approx([0.6] * 5 + [0.9] * 5)
    assert bins["value"][:5].tolist() == [0] * 5 and bins["value"][5:].mean() == 0.8
    assert selective["value"].tolist() == pytest.approx([8 / 20, 8 / 19, 8 / 18, 8 / 16])


def test_runs_are_grouped_by_recipe(notebook, setup, tmp_path):
    names = ("accuracy", "macro_f1", "weighted_roc_auc", "log_loss")
    runs = [("a", 2, 0.92), ("b", 2, 0.94), ("c", 2, 0.93), ("d", 3, 0.9), ("d", 3, 0.9)]
    for number, (run, epochs, accuracy) in enumerate(runs):
        record = {"parameters": setup["parameters"] | {"num_epochs": epochs}, "run": run}
        record |= {"recipe": f"recipe {epochs}", "test": dict.fromkeys(names, accuracy)}
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "metrics.json").write_text(json.dumps(record))
    (tmp_path / "metrics.json").write_text('{"accuracy": 1.0}')  # of another program
    given = {"output_dir": str(tmp_path), "settings": setup["parameters"]}
    cells = notebook.run("runs", **setup | given | {"recorded": setup["parameters"]})
    assert cells["varied"] == ["parameters.num_epochs"]
    table = cells["runs"].groupby("recipe")["test.accuracy"].agg(["count", "mean"])
    assert table.to_numpy().tolist() == [[3, pytest.approx(0.93)], [1, 0.9]]


def test_scores_of_several_seeds(random_case):
    """What makes the headline: the scores are scikit-learn's."""
    labels, probabilities = random_case
    predicted, found = probabilities.argmax(axis=1), seeds.scores(*random_case)
    recall = dict(zip(EMOTIONS, sk.recall_score(labels, predicted, average=None), strict=True))
    expected = {"accuracy": sk.accuracy_score(labels, predicted)}
    expected["macro_f1"] = sk.f1_score(labels, predicted, average="macro")
    expected |= {f"recall_{name}": recall[name] for name in ("love", "surprise")}
    assert found == pytest.approx(expected)
    selective = [*seeds.selective(*random_case).values()]
    assert selective[0] == expected["accuracy"] and selective == sorted(selective)


def test_intervals_cover_seeds_and_texts(random_case):
    """Seeds that agree leave the texts' interval, texts that agree leave the seeds'."""
    labels, probabilities = random_case
    truth = np.eye(6)[labels]
    alike = seeds.with_intervals(labels, np.array([probabilities] * 5))["accuracy"]
    error = (alike["mean"] * (1 - alike["mean"]) / len(labels)) ** 0.5
    assert np.ptp(alike["interval"]) == pytest.approx(2 * 1.96 * error, rel=0.1)
    wrong = np.roll(truth, 1, axis=1)
    mixed = seeds.with_intervals(labels, np.array([truth, truth, truth, truth, wrong]))["accuracy"]
    assert mixed["mean"] == 0.8 and mixed["interval"] == pytest.approx([0.4, 1.0])
    pair = np.array([truth, wrong]), np.array([probabilities, probabilities])
    less = seeds.with_intervals(labels, *pair)["accuracy"]
    assert less["mean"] == pytest.approx(0.5 - alike["mean"])
    assert (
        less["interval"][0] < -alike["mean"] + 0.05 and less["interval"][1] > 0.95 - alike["mean"]
    )
