"""Write the tables of README.md and figures/README.md from the JSON files in figures/.

    python tests/measure/tables.py

Each table stands between <!-- NAME --> and <!-- end -->; everything else is left as it is.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import ROOT

STAND_IN = "DistilBERT's shape, stand-in weights"
PUBLISHED = [  # on the same test split, verified by the Hub's evaluator
    ("bhadresh-savani/distilbert-base-uncased-emotion", "DistilBERT", "0.927", "0.8825"),
    ("bhadresh-savani/bert-base-uncased-emotion", "BERT-base", "0.9265", "0.8821"),
    ("ericntay/bert-finetuned-emotion", "BERT-base", "0.930", "0.8928"),
    ("bhadresh-savani/roberta-base-emotion", "RoBERTa-base", "0.931", "0.8821"),
    ("Jorgeutd/sagemaker-roberta-base-emotion", "RoBERTa-base", "0.931", "0.895"),
]


def read(name):
    return json.loads((ROOT / "figures" / name).read_text(encoding="utf-8"))


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def with_interval(metrics, name, digits=3):
    low, high = metrics["intervals"][name]
    return f"{metrics[name]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def headline():
    """Three rows: the reference run, the baseline, the best published model."""
    record = read("reference/metrics.json")
    rows = [
        [name, *(with_interval(record[split], m) for m in ("accuracy", "macro_f1")), seeds]
        for name, split, seeds in (
            (f"this notebook, {STAND_IN}", "test", f"1 ({record['parameters']['seed']})"),
            ("TF-IDF, logistic regression", "baseline", "none needed"),
        )
    ]
    repository, name, accuracy, macro_f1 = PUBLISHED[-1]
    best = f"[{name}, best published](https://huggingface.co/{repository})"
    rows.append([best, accuracy, macro_f1, "1"])
    return table(["test split, 2,000 texts", "accuracy", "macro F1", "seeds"], rows)


def reference():
    """All metrics of the reference run, with 95% intervals."""
    record = read("reference/metrics.json")
    splits = ("validation", "test", "baseline")
    rows = [
        [name, *(with_interval(record[split], name) for split in splits)]
        for name in record["test"]["intervals"]
    ]
    return table(["metric", "validation", "test", "TF-IDF on test"], rows)


def circumstances():
    """Time, memory and machine of the full runs on record."""
    record, slow = read("reference/metrics.json"), read("metrics-fp32.json")
    peaks = record["peak_memory_bytes"], slow["train"]["peak_memory_bytes"]
    speeds = record["training"]["train_samples_per_second"], slow["train"]["samples_per_second"]
    rows = [
        [
            run["environment"]["device"],
            run["environment"]["precision"],
            f"{run['seconds'] / 60:.0f}",
            f"{peak / 2**30:.1f}",
            f"{speed:.0f}",
            with_interval(run["test"], "accuracy"),
            with_interval(run["test"], "macro_f1"),
        ]
        for run, peak, speed in zip((record, slow), peaks, speeds, strict=True)
    ]
    head = ["machine", "precision", "minutes", "GiB", "texts/s", "test accuracy", "test macro F1"]
    return table(head, rows)


def seeds():
    """Mean and standard deviation over seeds, one row a recipe."""
    rows = []
    for name, runs in read("seeds.json")["groups"].items():
        test = pd.DataFrame([run["test"] for run in runs])
        shown = [
            f"{test[metric].mean():.4f} ± {test[metric].std():.4f}"
            for metric in ("accuracy", "macro_f1", "weighted_roc_auc")
        ]
        if "tand-in" in (runs[0]["note"] or ""):
            name = STAND_IN
        rows.append([name, len(runs), *shown])
    return table(["model", "seeds", "accuracy", "macro F1", "weighted ROC-AUC"], rows)


def class_weights():
    """What balanced weights change, in points, with 95% paired bootstrap intervals."""
    rows = [
        [name]
        + [
            "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * np.array([s["mean"], *s["interval"]])))
            for s in scores.values()
        ]
        for name, scores in read("seeds.json")["differences"].items()
    ]
    return table(
        ["points on test", "accuracy", "macro F1", "recall, love", "recall, surprise"], rows
    )


def recipes():
    """Every recipe tried, mean over its seeds of the last epoch on validation."""
    rows = []
    for name, runs in read("recipes.json")["validation"].items():
        last = pd.DataFrame([epochs[-1] for epochs in runs.values()])
        spread = last["accuracy"].max() - last["accuracy"].min()
        between = f"{100 * spread:.1f}" if len(last) > 1 else ""
        rows.append([name, len(last), *(f"{last[m].mean():.4f}" for m in last), between])
    head = ["recipe", "seeds", "accuracy", "macro F1", "log loss", "points between its seeds"]
    return table(head, rows)


def speed():
    """Texts a second of each recipe, the Trainer's own overhead, the machine's ceiling."""
    rows = []
    for precision in ("bf16", "fp32"):
        found = read(f"benchmark-speed-{precision}.json")
        for recipe in ("original", "book", "notebook"):
            own = found["precision"] if recipe == "notebook" else "fp32"
            ceiling = found["measured"][f"ceiling {DTYPES[own]} flop_per_second"]["median"]
            rate = found["measured"][f"{recipe} samples_per_second"]
            flop = found["measured"][f"{recipe} flop_per_second"]["median"]
            low, high = rate["range"]
            shown = [f"{rate['median']:.1f} [{low:.1f}, {high:.1f}]", f"{ceiling / 1e9:.0f}"]
            rows.append([found["machine"], recipe, own, *shown, f"{flop / ceiling:.0%}"])
    head = ["machine", "recipe", "precision", "texts/s, median [range]", "ceiling, GFLOP/s"]
    return table([*head, "of the ceiling"], rows)


DTYPES = {"fp32": "torch.float32", "bf16": "torch.bfloat16"}


def growth():
    """Time of an epoch and largest memory by the number of train rows."""
    rows = [
        [f"{run['rows']:,}", f"{run['seconds']:.0f}", f"{run['peak_memory_bytes'] / 2**30:.2f}"]
        for run in read("benchmark-growth.json")["runs"]
    ]
    return table(["rows", "seconds", "GiB"], rows)


def published():
    """Models whose figures on this split the Hub's evaluator has verified."""
    rows = [
        [f"[{name}, {repository.split('/')[0]}](https://huggingface.co/{repository})", *scores]
        for repository, name, *scores in PUBLISHED
    ]
    return table(["model", "accuracy", "macro F1"], rows)


def filled(text):
    """Return a README's text with its tables written anew."""
    return re.sub(
        r"<!-- (\w+) -->\n.*?<!-- end -->",
        lambda found: f"<!-- {found[1]} -->\n{globals()[found[1]]()}\n<!-- end -->",
        text,
        flags=re.DOTALL,
    )


READMES = [ROOT / "README.md", ROOT / "figures" / "README.md"]

if __name__ == "__main__":
    for path in READMES:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
