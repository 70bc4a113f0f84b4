"""Gather runs over several seeds from their folders into a file: means and paired differences.

    python tests/measure/seeds.py figures/seeds.json outputs outputs/runs/*
    python tests/measure/seeds.py figures/choices.json outputs/runs/*

Runs that differ from the default of the same size in one parameter are compared with it, seed by
seed. Beside trainings with other class weights stands what the logit adjustment makes of the
default's probabilities. All are test figures; the recipe was chosen on validation.
"""

import argparse
import functools
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmark import circumstances
from helpers import EMOTIONS, Notebook

KEPT = ("accuracy", "macro_f1", "weighted_roc_auc")
ALIKE = ("learning_rate", "train_batch_size", "num_epochs")
RARE = ("love", "surprise")
LEFT_OUT = (0, 0.05, 0.1, 0.2)  # shares of the texts, the least sure first


def scores(labels, probabilities):
    """Return accuracy, macro F1 and recall on the two rarest classes.

    labels: (n,) indices into EMOTIONS, probabilities: (n, k). scikit-learn's functions give the
    same, too slowly for as many resamples.
    """
    size = len(EMOTIONS)
    confusion = np.bincount(labels * size + probabilities.argmax(axis=1), minlength=size**2)
    confusion = confusion.reshape(size, size)
    right, in_class, called = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    recall = right / in_class
    f1 = 2 * right / (in_class + called)
    found = {"accuracy": right.sum() / len(labels), "macro_f1": f1.mean()}
    return found | {f"recall_{name}": recall[EMOTIONS.index(name)] for name in RARE}


def selective(labels, probabilities):
    """Return the accuracy on the texts that remain without the least sure ones."""
    right = (probabilities.argmax(axis=1) == labels)[np.argsort(probabilities.max(axis=1))]
    return {f"{share:.0%}": right[round(share * len(right)) :].mean() for share in LEFT_OUT}


def with_intervals(labels, runs, others=None, score=scores, draws=1000):
    """Return the mean over seeds of runs' scores, less others' if given, with 95% intervals.

    runs, others: probabilities of the same texts, shape (seeds, n, k), others paired with runs by
    seed. Each bootstrap resample draws seeds and texts with replacement, the same for both, so the
    intervals cover the choice of either (Efron and Tibshirani, 1993).
    """
    generator, (seeds, size, _) = np.random.default_rng(0), runs.shape

    def average(probabilities, chosen, texts):
        found = [pd.Series(score(labels[texts], probabilities[seed, texts])) for seed in chosen]
        return sum(found) / len(found)

    def mean(chosen, texts):
        found = average(runs, chosen, texts)
        return found if others is None else found - average(others, chosen, texts)

    resampled = pd.DataFrame(
        mean(generator.integers(seeds, size=seeds), generator.integers(size, size=size))
        for _ in range(draws)
    )
    value = mean(range(seeds), np.arange(size))
    bounds = resampled.quantile([0.025, 0.975])
    return {n: {"mean": value[n], "interval": [*bounds[n]]} for n in value.index}


def group_of(record):
    """Return what a run's row is called: its model, and what is not the default in its recipe."""
    name = record["inputs"]["model_name"].split("/")[-1]
    given = record["parameters"]
    if given["class_weighting"] != "sqrt":
        name += f", weights {given['class_weighting']}"
    return name + (f", LoRA rank {given['lora_rank']}" if given["lora_rank"] else "")


def entry(record):
    """Return what is kept of a run's metrics.json."""
    kept = {name: record["parameters"][name] for name in ("seed", *ALIKE)}
    kept["recipe"] = record["recipe"]
    kept |= {name: record["environment"][name] for name in ("device", "precision")}
    kept["rows"] = record["rows"]["test"]
    kept["validation"] = {m: record["validation"][m] for m in ("accuracy", "macro_f1", "log_loss")}
    return kept | {"test": {name: record["test"][name] for name in KEPT}}


@functools.cache  # it loads the data set
def reweighting():
    """Return the notebook's own reweighted, with the class weights of the default run."""
    notebook = Notebook()
    of_model = notebook.between("devices", "logits")
    cells = notebook.up_to("class-weights", *of_model, offline_fallback=False)
    return notebook.run("reweighted", **cells)["reweighted"]


def main():
    """Write the file from the runs' folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("folders", nargs="+", type=Path)
    options, groups, texts = parser.parse_args(), {}, []
    for folder in options.folders:
        record = json.loads((folder / "metrics.json").read_text())
        predictions = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
        texts.append(predictions[["text", "label"]])
        runs, seed = groups.setdefault(group_of(record), {}), record["parameters"]["seed"]
        assert seed not in runs, f"{folder}: seed {seed} once more"
        runs[seed] = entry(record), predictions[EMOTIONS].to_numpy()
    assert all(rows.equals(texts[0]) for rows in texts), "runs of several data sets"
    labels = texts[0]["label"].map(EMOTIONS.index).to_numpy()
    arrays = {name: np.array([runs[s][1] for s in sorted(runs)]) for name, runs in groups.items()}
    found = circumstances() | {"groups": {}, "means": {}, "selective": {}, "differences": {}}
    for name, runs in groups.items():
        found["groups"][name] = [runs[seed][0] for seed in sorted(runs)]
        alike = [[run[p] for p in (*ALIKE, "precision")] for run in found["groups"][name]]
        assert all(values == alike[0] for values in alike), f"{name}: runs of several recipes"
        default = name.split(", ")[0]
        if name == default:
            found["means"][name] = with_intervals(labels, arrays[name])
            found["selective"][name] = with_intervals(labels, arrays[name], score=selective)
            continue
        assert sorted(runs) == sorted(groups[default]), f"{name}: other seeds than {default}"
        pair = {"trained": with_intervals(labels, arrays[default], arrays[name])}
        if "weights" in name:
            adjust, weighting = reweighting(), name.split(" ")[-1]
            adjusted = np.array([adjust(run, weighting) for run in arrays[default]])
            pair["adjusted"] = with_intervals(labels, arrays[default], adjusted)
        found["differences"][name] = pair
    options.file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
