"""Metrics and intervals against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics as sk


@pytest.fixture(scope="module")
def cells(notebook, imports):
    variables = {**imports, "class_names": list("abcdef")}
    return notebook.run("calibration", "metrics", "evaluate", **variables)


@pytest.fixture(scope="module")
def random_case():
    generator = np.random.default_rng(0)
    labels = generator.integers(6, size=500)
    logits = generator.normal(size=(500, 6)) + 1.5 * np.eye(6)[labels]
    exponentials = np.exp(logits)
    return labels, exponentials / exponentials.sum(axis=1, keepdims=True)


def test_against_scikit_learn(cells, random_case):
    labels, probabilities = random_case
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        labels, predicted, average="weighted"
    )
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "weighted_precision": precision,
        "weighted_recall": recall,
        "weighted_f1": f1,
        "macro_f1": sk.f1_score(labels, predicted, average="macro"),
        "weighted_roc_auc": sk.roc_auc_score(
            labels, probabilities, multi_class="ovr", average="weighted"
        ),
        "macro_roc_auc": sk.roc_auc_score(
            labels, probabilities, multi_class="ovr", average="macro"
        ),
        "log_loss": sk.log_loss(labels, probabilities),
    }
    measured = cells["classification_metrics"](labels, probabilities)
    calibration = measured.pop("expected_calibration_error")
    assert measured == pytest.approx(expected)
    assert 0 < calibration < 1


def test_hard_labels_are_refused(cells, random_case):
    """The original took ROC-AUC from hard labels."""
    labels, probabilities = random_case
    predicted = probabilities.argmax(axis=1)
    for hard in (predicted, np.eye(6)[predicted]):
        with pytest.raises(ValueError, match="not hard labels"):
            cells["classification_metrics"](labels, hard)


def test_calibration_error_by_hand(cells):
    # Four texts at confidence 0.9, three right; two at 0.6, none right.
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2)
    bins = cells["calibration_bins"](np.array([0, 0, 0, 1, 1, 1]), probabilities)
    assert bins["texts"].tolist() == [2, 4]
    error = cells["expected_calibration_error"](bins)
    assert error == pytest.approx(4 / 6 * abs(0.75 - 0.9) + 2 / 6 * abs(0 - 0.6))


def test_calibrated_probabilities_have_a_small_error(cells):
    generator = np.random.default_rng(1)
    positive = generator.uniform(size=20000)
    labels = (generator.uniform(size=20000) < positive).astype(int)
    bins = cells["calibration_bins"](labels, np.stack([1 - positive, positive], axis=1))
    assert cells["expected_calibration_error"](bins) < 0.02


def test_intervals_hold_the_figure_and_have_the_binomial_width(cells, random_case):
    labels, probabilities = random_case
    intervals = cells["bootstrap_intervals"](labels, probabilities)
    measured = cells["classification_metrics"](labels, probabilities)
    assert set(intervals) == set(measured)
    for name in ("accuracy", "macro_f1", "weighted_roc_auc", "log_loss"):
        low, high = intervals[name]
        assert low < measured[name] < high
    low, high = intervals["accuracy"]
    p = measured["accuracy"]
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(p * (1 - p) / 500), rel=0.15)


def test_intervals_of_a_tiny_split(cells, random_case):
    labels, probabilities = random_case
    rows = np.concatenate([np.flatnonzero(labels == 0)[:12], np.flatnonzero(labels == 5)[:2]])
    labels, probabilities = (labels[rows] > 0).astype(int), probabilities[rows][:, [0, 5]]
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    intervals = cells["bootstrap_intervals"](labels, probabilities)
    assert np.isfinite(list(intervals.values())).all()
