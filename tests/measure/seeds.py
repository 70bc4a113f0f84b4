"""Gather runs over several seeds, and what class weights change, into figures/seeds.json, by hand.

    python tests/seeds.py outputs/runs/*

takes folders of runs with a run_name, and the reference run in figures/; prints README's tables.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from conftest import EMOTIONS, ROOT

PATH = ROOT / "figures" / "seeds.json"
SIZE = "all-MiniLM-L6-v2"  # at which class weights are compared
KEPT = ("accuracy", "macro_f1", "weighted_roc_auc")
RARE = ("love", "surprise")
LOVE, SURPRISE = (sorted(EMOTIONS).index(name) for name in RARE)


def scores(labels, predicted):
    """Accuracy, macro F1 and recall on the two rarest classes.

    labels, predicted: (n,) class indices, in the order of sorted class names. scikit-learn's
    functions give the same, too slowly for as many resamples.
    """
    size = labels.max() + 1
    confusion = np.bincount(labels * size + predicted, minlength=size**2).reshape(size, size)
    right, in_class, called = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    recall = right / in_class
    f1 = 2 * right / (in_class + called)
    return np.array([right.sum() / len(labels), f1.mean(), *recall[[LOVE, SURPRISE]]])


NAMES = ["accuracy", "macro_f1", *(f"recall_{name}" for name in RARE)]


def difference(runs, others, resamples=1000):
    """Mean over seeds of runs' scores less others', with 95% paired bootstrap intervals.

    runs, others: predictions of the same texts, one table a seed. Each resample draws texts with
    replacement, the same ones for all runs (Efron and Tibshirani, 1993).
    """
    assert all(run["text"].equals(runs[0]["text"]) for run in [*runs, *others])
    names = sorted(EMOTIONS)
    labels = np.searchsorted(names, runs[0]["label"])
    tables = [[np.searchsorted(names, run["predicted"]) for run in some] for some in (runs, others)]

    def mean_difference(rows):
        first, second = (
            np.mean([scores(labels[rows], predicted[rows]) for predicted in some], axis=0)
            for some in tables
        )
        return first - second

    generator = np.random.default_rng(0)
    draws = generator.integers(len(labels), size=(resamples, len(labels)))
    low, high = np.quantile([mean_difference(rows) for rows in draws], [0.025, 0.975], axis=0)
    found = zip(NAMES, mean_difference(np.arange(len(labels))), low, high, strict=True)
    return {name: {"mean": mean, "interval": [a, b]} for name, mean, a, b in found}


def group_of(record):
    """What a run's row is called: its model, and what is not the default in its recipe."""
    name = record["inputs"]["model_name"].split("/")[-1]
    given = record["parameters"]
    if given["class_weighting"] != "balanced":
        name += f", weights {given['class_weighting']}"
    return name + (f", LoRA rank {given['lora_rank']}" if given["lora_rank"] else "")


def entry(record):
    """What is kept of a run's metrics.json."""
    test, train = record["test"], record["train"]
    found = {name: test[name] for name in KEPT}
    found |= {f"recall_{name}": test["per_class"][name]["recall"] for name in RARE}
    parameters = ("seed", "learning_rate", "train_batch_size", "num_epochs")
    kept = {name: record["parameters"][name] for name in parameters}
    kept |= {"recipe": record["recipe"], "note": record["note"]}
    kept |= {name: record["environment"][name] for name in ("device", "precision")}
    memory = {"peak_memory_bytes": train["peak_memory_bytes"], "training_seconds": train["seconds"]}
    validation = {name: record["validation"][name] for name in ("accuracy", "macro_f1")}
    return kept | memory | {"rows": test["rows"], "validation": validation, "test": found}


def row(*cells):
    return f"| {' | '.join(cells)} |"


def results_rows(found):
    """README's rows, one a group: seeds, mean and standard deviation over them, machine."""
    for name, runs in found["groups"].items():
        test = pd.DataFrame([run["test"] for run in runs])
        means, deviations = test.mean(), test.std()
        shown = [f"{means[metric]:.4f} ± {deviations[metric]:.4f}" for metric in KEPT]
        minutes = np.median([run["training_seconds"] for run in runs]) / 60
        memory = max(run["peak_memory_bytes"] for run in runs) / 2**30
        shown += [f"{minutes:.0f} min", f"{memory:.1f} GiB", runs[0]["device"]]
        stand_in = ", stand-in weights" if "Stand-in" in runs[0]["note"] else ""
        yield row(name + stand_in, str(len(runs)), *shown)
    shown = [f"{found['baseline'][metric]:.4f}" for metric in KEPT]
    yield row("TF-IDF, balanced logistic regression", "none needed", *shown, "", "", "")


def weighting_rows(found):
    """README's rows on class weights: means over the seeds that all three weightings have."""
    arms = {"none": f"{SIZE}, weights none", "sqrt": f"{SIZE}, weights sqrt", "balanced": SIZE}
    seeds = min(len(found["groups"][arm]) for arm in arms.values())
    for weighting, arm in arms.items():
        runs = found["groups"][arm][:seeds]
        scored = [
            *[np.mean([run["validation"][name] for run in runs]) for name in NAMES[:2]],
            *[np.mean([run["test"][name] for run in runs]) for name in NAMES],
        ]
        yield row(weighting, *[f"{score:.4f}" for score in scored])


def difference_rows(found):
    """README's rows on what balanced weights change, in points, with 95% intervals."""
    for name, scored in found["differences"].items():
        shown = []
        for metric in NAMES:
            (low, high), mean = scored[metric]["interval"], scored[metric]["mean"]
            shown.append(f"{100 * mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")
        yield row(name, *shown)


def main():
    """Write figures/seeds.json from the runs' folders; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    groups, predictions = {}, {}
    for folder in [*parser.parse_args().folders, ROOT / "figures"]:
        record = json.loads((folder / "metrics.json").read_text())
        name = group_of(record)
        groups.setdefault(name, []).append(entry(record))
        if (folder / "predictions.csv").exists():
            predictions.setdefault(name, []).append(pd.read_csv(folder / "predictions.csv"))
    for name, runs in groups.items():
        assert len({run["recipe"] for run in runs}) == 1, f"{name}: runs of several recipes"
        runs.sort(key=lambda run: run["seed"])
    differences = {}
    for other in (f"{SIZE}, weights sqrt", f"{SIZE}, weights none"):
        count = len(predictions[other])  # the same seeds, in order
        assert [r["seed"] for r in groups[SIZE][:count]] == [r["seed"] for r in groups[other]]
        differences[f"balanced less {other.split()[-1]}"] = difference(
            predictions[SIZE][:count], predictions[other]
        )
    reference = json.loads((ROOT / "figures" / "metrics.json").read_text())
    baseline = {metric: reference["baseline"][metric] for metric in KEPT}
    found = {"groups": groups, "differences": differences, "baseline": baseline}
    PATH.write_text(json.dumps(found, indent=1) + "\n")
    for rows in (results_rows, weighting_rows, difference_rows):
        print(*rows(found), "", sep="\n")


if __name__ == "__main__":
    main()
