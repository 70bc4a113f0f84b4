"""Metrics, intervals and the logit adjustment, against scikit-learn and by hand; all runs."""

import ast
import json
import time

import numpy as np
import pandas as pd
import pytest
import seeds
from helpers import EMOTIONS, ROOT
from scipy.stats import binom
from sklearn import metrics as sk
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

METRICS = ["imports", "label-metrics", "roc-auc", "all-metrics", "share", "bootstrap"]
METRICS += ["with-intervals"]


@pytest.fixture(scope="module")
def cells(notebook, setup):
    return notebook.run(*METRICS, **setup, class_names=[str(number) for number in range(120)])


def shown(notebook, id, **cells):
    """Execute a cell; return what its last line shows."""
    *lines, last = ast.parse(notebook.cells[id].source).body
    exec(compile(ast.Module(lines, []), id, "exec"), cells)
    return eval(compile(ast.Expression(last.value), id, "eval"), cells)


def made_up(texts=500, classes=6, seed=0):
    """Labels and probabilities of a model that is often right."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=texts)
    noise = generator.normal(size=(texts, classes))
    exponentials = np.exp(noise + 1.5 * np.eye(classes)[labels])
    return labels, exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def random_case():
    return made_up()


@pytest.fixture(scope="module")
def draws(cells, random_case):
    return cells["bootstrap"](*random_case)


def with_ties(labels, probabilities):
    counts = np.round(10 * probabilities) + 1
    return labels, counts / counts.sum(axis=1, keepdims=True)


def without_class(labels, probabilities, lacking=2):
    return labels[labels != lacking], probabilities[labels != lacking]


CASES = {
    "six classes": made_up(),
    "ties": with_ties(*made_up()),
    "a class lacks": without_class(*made_up()),
    "120 classes": made_up(700, 120),
    "120 classes, some lack, ties": with_ties(*made_up(150, 120)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES)
def test_against_scikit_learn(cells, case):
    labels, probabilities = CASES[case]
    present, texts = np.unique(labels, return_counts=True)
    predicted = probabilities.argmax(axis=1)
    options = {"labels": present, "average": "weighted", "zero_division": 0}
    averages = sk.precision_recall_fscore_support(labels, predicted, **options)[:3]
    names = ("weighted_precision", "weighted_recall", "weighted_f1")
    expected = dict(zip(names, averages, strict=True))
    expected["accuracy"] = sk.accuracy_score(labels, predicted)
    expected["macro_f1"] = sk.f1_score(labels, predicted, **options | {"average": "macro"})
    expected["log_loss"] = sk.log_loss(labels, probabilities, labels=range(probabilities.shape[1]))
    areas = [sk.roc_auc_score(labels == index, probabilities[:, index]) for index in present]
    expected |= {"macro_roc_auc": np.mean(areas)}
    expected |= {"weighted_roc_auc": np.average(areas, weights=texts)}
    assert cells["all_metrics"](labels, probabilities) == pytest.approx(expected, abs=1e-12, rel=0)
    assert cells["roc_auc"](labels, probabilities) == pytest.approx(areas, abs=1e-12, rel=0)


def test_roc_auc_is_taken_from_probabilities(cells):
    """The original took it from hard labels. Here they are all the same, the ranks are right."""
    labels, second = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.4])
    probabilities = np.column_stack([1 - second, second])
    hard = np.eye(2)[probabilities.argmax(axis=1)]
    assert cells["all_metrics"](labels, probabilities)["macro_roc_auc"] == 1
    assert cells["roc_auc"](labels, hard).tolist() == [0.5, 0.5]


@pytest.mark.filterwarnings("error")
def test_class_that_a_split_lacks(notebook, cells):
    """The intervals are those of the other classes; JSON has no NaN."""
    labels, probabilities = CASES["a class lacks"]
    table = cells["with_intervals"](cells["bootstrap"](labels, probabilities))
    assert np.isfinite(table.to_numpy()).all()
    assert cells["share"](np.array([], bool)) == {}
    given = {"class_names": EMOTIONS, "test_labels": labels, "test_probabilities": probabilities}
    given["test_predicted"] = probabilities.argmax(axis=1)
    given["correct"] = given["test_predicted"] == labels
    table = shown(notebook, "report", **cells | given)
    options = {"average": None, "zero_division": np.nan, "labels": range(6)}
    expected = sk.precision_recall_fscore_support(labels, given["test_predicted"], **options)
    for name, values in zip(("precision", "recall"), expected, strict=False):
        np.testing.assert_allclose(table[name, "value"], values, atol=6e-4)
    assert table["ROC-AUC, one vs. rest", "value"].isna().tolist() == [n == 2 for n in range(6)]


@pytest.mark.filterwarnings("error")
def test_intervals_of_a_tiny_split(cells):
    """Thirty classes with a text each: every draw lacks some, and has an interval all the same."""
    probabilities = np.random.default_rng(0).dirichlet(np.ones(30), size=30)
    draws = cells["bootstrap"](np.arange(30), probabilities)
    assert len(draws) > 990 and np.isfinite(cells["with_intervals"](draws).to_numpy()).all()


@pytest.mark.slow
def test_many_classes_take_seconds(cells):
    """Two minutes with scikit-learn's functions and 1,000 draws."""
    before = time.process_time()
    assert len(cells["bootstrap"](*made_up(3000, 77))) > 200
    assert time.process_time() - before < 45


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


@pytest.mark.slow
@pytest.mark.parametrize("size", [2000, 500, 200, 48])
def test_intervals_cover_the_true_value(notebook, cells, size, capsys):
    """In 95% of test sets as the reference run's confusion matrix gives them, if they are large.

    Where they cover less, the notebook says so.
    """
    record = json.loads((ROOT / "figures" / "reference" / "metrics.json").read_text())
    counts, sets = np.array(record["confusion_matrix"]), 300
    pairs = np.argwhere(counts)  # label and predicted class
    shares = counts[tuple(pairs.T)] / counts.sum()
    fast = notebook.run("bootstrap", **cells | {"all_metrics": cells["label_metrics"]})
    true = cells["label_metrics"](*np.repeat(pairs, counts[tuple(pairs.T)], axis=0).T)
    generator, covering = np.random.default_rng(0), dict.fromkeys(("accuracy", "macro_f1"), 0)
    for _ in range(sets):
        labels, predicted = pairs[generator.choice(len(pairs), size, p=shares)].T
        table = fast["with_intervals"](fast["bootstrap"](labels, predicted))
        for name in covering:
            covering[name] += table.loc[name, "low"] <= true[name] <= table.loc[name, "high"]
    least, most = binom.ppf([0.001, 0.999], sets, 0.95)
    enough = {name: least <= number <= most for name, number in covering.items()}
    arrays = dict.fromkeys(["test_probabilities", "one_word_probabilities"], predicted)
    notebook.run("comparison", **fast | arrays | {"test_labels": labels})
    assert {*enough.values()} == {not capsys.readouterr().out} == {size >= 200}, covering


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
            "imports", "class-weights", "reweighted", **given | {"class_weighting": weighting}
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


@pytest.fixture
def twenty(cells):
    """Ten texts at confidence 0.9, eight right; ten at 0.6, none right, nine hang on a coin."""
    right = np.arange(20) < 8
    given = {"test_probabilities": np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)}
    given |= {"test_labels": np.where(right, 0, 1), "correct": right, "class_names": ["a", "b"]}
    given |= {"test_predicted": np.zeros(20, int), "test_hangs": np.arange(20) > 10}
    texts = ["plain"] * 11 + ["heads"] * 4 + ["plain tails"] * 3 + ["heads tails"] * 2
    given["splits"] = {"test": pd.DataFrame({"class": np.where(right, "a", "b"), "text": texts})}
    given |= {
        "balanced": np.array([1.0, 3.0]),
        "exponents": {"none": 0, "sqrt": 0.5, "balanced": 1},
    }
    return cells | given


def test_results_without_coin_words_by_hand(notebook, twenty, capsys):
    coins = {"vectorizer": CountVectorizer(), "coin_table": ["heads", "tails"]}
    coins["vectorizer"].fit(["heads plain tails"])
    coins |= {"is_coin": np.array([True, False, True])}
    coins["shares"] = np.array([[0.6, 0.4], [1, 0], [0.5, 0.5]])
    left = notebook.run("by-coin-word", "ceiling", **twenty | coins)
    assert {"texts": 9, "errors": 9, "accuracy": 0}.items() <= left["by_coin_word"]["with"].items()
    without, z = left["by_coin_word"]["without"], 1.959964
    assert {"texts": 11, "errors": 3, "accuracy": 8 / 11}.items() <= without.items()
    middle, half = 8 + z**2 / 2, z * (8 * 3 / 11 + z**2 / 4) ** 0.5  # of Wilson's interval
    ends = np.array([middle - half, middle + half]) / (11 + z**2)
    assert [without["low"], without["high"]] == pytest.approx(ends)
    printed, coins_right = capsys.readouterr().out, 4 * 0.6 + 3 * 0.5 + 2 * 0.6
    assert {f"{(right + coins_right) / 20:.3f}" for right in (11, 8)} <= {*printed.split()}

    none = {"coin_table": [], "is_coin": np.zeros(3, bool), "test_hangs": np.zeros(20, bool)}
    assert notebook.run("by-coin-word", "ceiling", **twenty | coins | none)["by_coin_word"] == {}


def test_calibration_by_hand(notebook, twenty):
    bins = notebook.run("calibration", **twenty)["by_confidence"](twenty["test_probabilities"])
    assert bins["confidence"].tolist() == pytest.approx([0.6] * 5 + [0.9] * 5)
    assert bins["value"].tolist() == [0] * 5 + [1] * 4 + [0]
    table = shown(notebook, "selective", **twenty)
    assert table["value"].tolist() == [round(8 / rest, 3) for rest in (19, 18, 16)]
    assert table["hang on a coin"].tolist() == [0, 0.5, 0.75]


def test_weights_divided_out_by_hand(notebook, twenty, capsys):
    """0.9 and 0.1 become 0.9 and 0.1 / 3, or 27/28 and 1/28; 0.6 becomes 9/11."""
    left = notebook.run("calibration", "reweighted", **twenty | {"class_weighting": "balanced"})
    draws = {"test": left["bootstrap"](left["test_labels"], left["test_probabilities"])}
    table, printed = shown(notebook, "weights-shift", **left, draws=draws), capsys.readouterr().out
    for sure, unsure in ((0.9, 0.6), (27 / 28, 9 / 11)):
        assert f"{(5 * unsure + 4 * (1 - sure) + sure) / 10:.3f}" in printed
    of_labels = np.log([[0.9, 0.1, 0.4], [27 / 28, 1 / 28, 2 / 11]]) @ [8, 2, 10]
    value, low, high = table.loc["log_loss", ["value", "low", "high"]]
    assert low < value == round((of_labels[0] - of_labels[1]) / 20, 3) < high
    assert table.loc["accuracy"].tolist() == [0, 0, 0]


def test_recall_under_other_weights_by_hand(notebook, twenty, capsys):
    """Multiplied by 3 or its root, 0.4 is more than 0.6: ten predictions change from a to b."""
    left = notebook.run("reweighted", **twenty | {"class_weighting": "none"})
    table = shown(notebook, "recall", **left)
    assert {"10", "9"} <= {*capsys.readouterr().out.split()}
    for weighting, right in (("none", [0, 0]), ("sqrt", [1, 0.333]), ("balanced", [1, 0.333])):
        assert table.loc["b", weighting].to_dict() == dict(
            zip(("coin toss", "others"), right, strict=True)
        )
        assert table.loc["a", (weighting, "others")] == 1


def one_word(notebook, cells, train, labels, test):
    """The probabilities of the one-word classifier."""
    train = pd.DataFrame({"text": train})
    given = {"class_names": [*"abc"[: max(labels) + 1]], "train": train, "train_labels": labels}
    given["splits"] = {"train": train, "test": pd.DataFrame({"text": test})}
    return notebook.run("words", "one-word", **cells | given)["one_word_probabilities"]


def test_the_purest_word_decides(notebook, cells):
    """With three more texts, half of them a: x is in 3.5 of 6 texts a, y in 1.5 of 4."""
    found = one_word(notebook, cells, ["x u", "x v", "y u", "x w"], [0, 0, 1, 1], ["x y", "x", "?"])
    np.testing.assert_allclose(found, [[1.5 / 4, 2.5 / 4], [3.5 / 6, 2.5 / 6], [0.5, 0.5]])
    words, labels = ["高兴", "难过", "害怕"], np.arange(60) % 3
    train = [f"我{'今昨明'[n % 7 % 3]}天很{words[n % 3]}了" for n in range(60)]
    found = one_word(notebook, cells, train, labels, [f"她真的{word}吗" for word in words])
    assert found.argmax(axis=1).tolist() == [0, 1, 2], "it reads scripts without spaces"


def test_runs_are_grouped_by_recipe(notebook, setup, tmp_path):
    names = ("accuracy", "macro_f1", "weighted_roc_auc", "log_loss")
    runs = [("a", 2, 0.92), ("b", 2, 0.94), ("c", 2, 0.93), ("d", 3, 0.9), ("d", 3, 0.9)]
    for number, (run, epochs, accuracy) in enumerate(runs):
        record = {"parameters": setup["parameters"] | {"num_epochs": epochs}, "run": run}
        record |= {"recipe": f"recipe {epochs}", "test": dict.fromkeys(names, accuracy)}
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "metrics.json").write_text(json.dumps(record))
        (tmp_path / str(number) / ".lock").touch()
    (tmp_path / "metrics.json").write_text('{"step": 1}\n{"step": 2}')  # of another program
    given = {"output_dir": str(tmp_path), "settings": setup["parameters"], "json": json}
    cells = notebook.run("imports", "runs", **setup | given)
    assert cells["varied"] == ["num_epochs"]
    accuracy = shown(notebook, "recipes", **cells).loc["test.accuracy"]
    assert accuracy.columns.tolist() == [("recipe 2", 2), ("recipe 3", 3)]
    assert accuracy.loc[["count", "mean"]].to_numpy().tolist() == [[3, 1], [0.93, 0.9]]
    assert accuracy.loc["std"].tolist() == [0.01, pytest.approx(np.nan, nan_ok=True)]


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
