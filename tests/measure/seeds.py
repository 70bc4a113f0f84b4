"""Gather runs over several seeds from their folders into a file: means and paired differences.

    python tests/measure/seeds.py figures/seeds.json outputs outputs/runs/*
    python tests/measure/seeds.py figures/choices.json outputs/runs/*

Runs at all-MiniLM-L6-v2's size that differ from the default are compared with it seed by seed.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmark import circumstances
from helpers import EMOTIONS

SIZE = "all-MiniLM-L6-v2"  # at which choices are compared
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


def with_interval(runs, others=()):
    """Mean over seeds of runs' scores, minus others' if given, with 95% bootstrap intervals.

    runs, others: predictions of the same texts, one table a seed. Each resample draws texts with
    replacement, the same ones for all runs (Efron and Tibshirani, 1993).
    """
    assert all(run["text"].equals(runs[0]["text"]) for run in [*runs, *others])
    names = sorted(EMOTIONS)
    labels = np.searchsorted(names, runs[0]["label"])
    tables = [[np.searchsorted(names, run["predicted"]) for run in some] for some in (runs, others)]

    def mean(rows):
        first, second = (
            np.mean([scores(labels[rows], predicted[rows]) for predicted in some] or [[0]], axis=0)
            for some in tables
        )
        return first - second

    generator = np.random.default_rng(0)
    draws = generator.integers(len(labels), size=(1000, len(labels)))
    low, high = np.quantile([mean(rows) for rows in draws], [0.025, 0.975], axis=0)
    found = zip(NAMES, mean(np.arange(len(labels))), low, high, strict=True)
    return {name: {"mean": value, "interval": [a, b]} for name, value, a, b in found}


def group_of(record):
    """What a run's row is called: its model, and what is not the default in its recipe."""
    name = record["inputs"]["model_name"].split("/")[-1]
    given = record["parameters"]
    if given["class_weighting"] != "sqrt":
        name += f", weights {given['class_weighting']}"
    return name + (f", LoRA rank {given['lora_rank']}" if given["lora_rank"] else "")


def entry(record):
    """What is kept of a run's metrics.json."""
    test, confusion = record["test"], np.array(record["confusion_matrix"])
    recall = np.diag(confusion) / confusion.sum(axis=1)
    found = {name: test[name] for name in KEPT}
    found |= {f"recall_{name}": recall[EMOTIONS.index(name)] for name in RARE}
    parameters = ("seed", "learning_rate", "train_batch_size", "num_epochs")
    kept = {name: record["parameters"][name] for name in parameters}
    kept |= {"recipe": record["recipe"], "note": record["note"]}
    kept |= {name: record["environment"][name] for name in ("device", "precision")}
    kept |= {"peak_memory_bytes": record["peak_memory_bytes"]}
    validation = {m: record["validation"][m] for m in ("accuracy", "macro_f1", "log_loss")}
    return kept | {"rows": record["rows"]["test"], "validation": validation, "test": found}


def main():
    """Write the file from the runs' folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("folders", nargs="+", type=Path)
    options, groups = parser.parse_args(), {}
    for folder in options.folders:
        record = json.loads((folder / "metrics.json").read_text())
        predictions = pd.read_csv(folder / "predictions.csv")
        runs, seed = groups.setdefault(group_of(record), {}), record["parameters"]["seed"]
        assert seed not in runs, f"{folder}: seed {seed} once more"
        runs[seed] = record, predictions
    found = circumstances() | {"groups": {}, "means": {}, "differences": {}}
    for name, runs in groups.items():
        seeds = sorted(runs)
        recipes = {runs[seed][0]["recipe"] for seed in seeds}
        assert len(recipes) == 1, f"{name}: runs of several recipes"
        found["groups"][name] = [entry(runs[seed][0]) for seed in seeds]
        found["means"][name] = with_interval([runs[seed][1] for seed in seeds])
        if name.startswith(f"{SIZE}, "):
            assert seeds == sorted(groups[SIZE]), f"{name}: other seeds than {SIZE}"
            pairs = [(groups[SIZE][seed][1], runs[seed][1]) for seed in seeds]
            found["differences"][name] = with_interval(*zip(*pairs, strict=True))
    options.file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
