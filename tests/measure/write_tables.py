"""Write the tables of README.md and figures/README.md from the JSON files in figures/.

    python tests/measure/write_tables.py

Each table stands between <!-- NAME --> and <!-- end -->; everything else is left as it is.
"""

import json
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import scipy.stats
import seeds

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import ROOT

STAND_IN = "all-MiniLM-L6-v2 widened to DistilBERT's shape"
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


def groups():
    """The runs of each group: DistilBERT's size, then all-MiniLM-L6-v2's."""
    return read("seeds.json")["groups"] | read("choices.json")["groups"]


def bracketed(value, bounds, form=".3f"):
    """A value with its interval or range in brackets."""
    low, high = bounds
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def with_interval(metrics, name):
    return bracketed(metrics[name], metrics["intervals"][name])


def plus_minus(values, form=".4f"):
    """Mean and standard deviation over seeds."""
    return f"{np.mean(values):{form}} ± {np.std(values, ddof=1):{form.lstrip('+')}}"


def headline():
    """Three rows: the mean over our seeds, the baseline, the best verified model."""
    found, baseline = read("seeds.json"), read("reference/metrics.json")["baseline"]
    ours = [
        bracketed(score["mean"], score["interval"])
        for score in map(found["means"][STAND_IN].get, ("accuracy", "macro_f1"))
    ]
    repository, name, accuracy, macro_f1 = PUBLISHED[-1]
    best = f"[{name}, best verified by the Hub that we found](https://huggingface.co/{repository})"
    this = "this notebook: DistilBERT's architecture, started from all-MiniLM-L6-v2"
    rows = [
        [this, *ours, len(found["groups"][STAND_IN])],
        [
            "one word",
            *(with_interval(baseline, name) for name in ("accuracy", "macro_f1")),
            "none needed",
        ],
        [best, accuracy, macro_f1, "1"],
    ]
    return table(["test split, 2,000 texts", "accuracy", "macro F1", "seeds"], rows)


def reference():
    """All metrics of the reference run, those of test with 95% intervals."""
    record = read("reference/metrics.json")
    rows = []
    for name, value in record["validation"].items():
        of_test = [with_interval(record[key], name) for key in ("test", "baseline")]
        rows.append([name, f"{value:.3f}", *of_test])
    return table(["metric", "validation", "test", "one word on test"], rows)


def circumstances():
    """Time and speed of the reference run, with its machine's ceiling."""
    record = read("reference/metrics.json")
    ceiling = read("reference/machine.json")["ceiling_flop_per_second"]
    row = [
        f"{record['environment']['device']}, {ceiling / 1e9:.0f} GFLOP/s",
        record["environment"]["precision"],
        f"{record['seconds'] / 60:.0f}",
        f"{record['training']['train_samples_per_second']:.0f}",
    ]
    return table(["machine", "precision", "minutes", "texts/s"], [row])


def coin():
    """Accuracy of the reference run on the test texts that hang on a coin-toss word, and others."""
    record = read("reference/metrics.json")
    texts, right = sum(map(sum, record["confusion_matrix"])), np.trace(record["confusion_matrix"])
    everything = bracketed(record["test"]["accuracy"], record["test"]["intervals"]["accuracy"])
    rows = [["all test texts", f"{texts:,}", texts - right, everything]]
    names = {"with": "texts that hang on a coin-toss word", "without": "the other texts"}
    for group, name in names.items():
        found = record["test_by_coin_word"][group]
        accuracy = bracketed(found["accuracy"], (found["low"], found["high"]))
        rows.append([name, f"{found['texts']:,}", found["errors"], accuracy])
    return table(["", "texts", "errors", "accuracy"], rows)


def coin_words():
    """The coin-toss words of the reference run, in one line per pair of classes."""
    words = {}
    for found in read("reference/metrics.json")["coin_words"]:
        words.setdefault(" or ".join(sorted(found["classes"])), []).append(found["word"])
    pairs = sorted(words.items(), key=lambda pair: -len(pair[1]))
    return "\n".join(f"- {pair}: *{', '.join(found)}*" for pair, found in pairs)


def answer():
    """What the reference run's model answers in the notebook's section 9."""
    copy = nbformat.read(ROOT / "figures/reference/EmotionClassification.ipynb", as_version=4)
    (cell,) = [cell for cell in copy.cells if cell.id == "use"]
    return f"    {cell.outputs[0].data['text/plain']}"


def origins():
    """Where and from which commit each file was measured."""
    rows = []
    for path in [
        *sorted((ROOT / "figures").glob("*.json")),
        ROOT / "figures/reference/machine.json",
    ]:
        found = json.loads(path.read_text(encoding="utf-8"))
        ceiling = f"{found['ceiling_flop_per_second'] / 1e9:.0f}"
        machine = f"{found['machine']}, {found['precision']}"
        rows.append(
            [f"`{path.relative_to(ROOT / 'figures')}`", machine, ceiling, found["commit"][:7]]
        )
    return table(["file", "machine, precision", "ceiling, GFLOP/s", "commit"], rows)


def over_seeds(split, names):
    """Mean and standard deviation over seeds of a split's metrics, one row a group."""
    rows = [
        [name, len(runs), *(plus_minus([run[split][m] for run in runs]) for m in names)]
        for name, runs in groups().items()
    ]
    return table([split, "seeds", *(name.replace("_", " ") for name in names)], rows)


def of_seeds():
    return over_seeds("test", ("accuracy", "macro_f1", "weighted_roc_auc"))


def validation():
    return over_seeds("validation", ("accuracy", "macro_f1", "log_loss"))


def differences():
    """What the default changes, in points, over seeds and texts, with 95% intervals.

    "adjusted": not trained, but made from the default's probabilities by the logit adjustment.
    """
    rows = []
    for name, pair in read("choices.json")["differences"].items():
        other = name.split(", ")[1].removeprefix("weights ")
        for kind, scores in pair.items():
            points = [100 * np.array([s["mean"], *s["interval"]]) for s in scores.values()]
            shown = [bracketed(mean, bounds, "+z.1f") for mean, *bounds in points]
            rows.append([f"default − {other}", kind, *shown])
    names = ["accuracy", "macro F1", "recall, love", "recall, surprise"]
    return table(["points on test", "the other is", *names], rows)


def selective():
    """Accuracy on the texts that remain without the least sure ones."""
    found = read("seeds.json")["selective"][STAND_IN]
    shown = [bracketed(score["mean"], score["interval"]) for score in found.values()]
    head = ["left out", *("nothing" if share == "0%" else share for share in found)]
    return table(head, [["accuracy", *shown]])


def recipes():
    """Validation scores of each recipe, with and without texts that hang on a coin toss."""
    rows, runs = [], read("recipes.json")["validation"]
    for name, found in runs.items():
        others = [run["without_coin_word"] for run in found.values()]
        columns = [[run["accuracy"] for run in found.values()]]
        columns += [[run[metric] for run in others] for metric in ("accuracy", "log_loss")]
        default = [runs["default"][seed]["without_coin_word"] for seed in found]
        less = less_default(others, default) if name != "default" else ["", ""]
        rows.append([name, len(found), *map(plus_minus, columns), *less])
    head = ["validation", "seeds", "accuracy, all texts", "accuracy, others", "log loss, others"]
    return table([*head, "accuracy − default, points", "log loss − default"], rows)


def less_default(runs, default):
    """Return the differences in accuracy and log loss of runs paired by seed, with intervals.

    That of accuracy is a bootstrap over seeds and texts, that of log loss Student's over seeds.
    """
    labels, right = np.ones(runs[0]["texts"]), [right_texts(each) for each in (runs, default)]
    found = seeds.with_intervals(labels, *right, lambda _, hits: {"points": 100 * hits.mean()})
    points = found["points"]
    less = np.subtract(*([run["log_loss"] for run in each] for each in (runs, default)))
    bounds = scipy.stats.t.interval(0.95, len(less) - 1, less.mean(), scipy.stats.sem(less))
    shown = bracketed(points["mean"], points["interval"], "+z.2f")
    return [shown, bracketed(less.mean(), bounds, "+z.3f")]


def right_texts(runs):
    """Return which texts each run gets right, shape (runs, texts, 1)."""
    texts = np.arange(runs[0]["texts"])
    return np.array([~np.isin(texts, run["wrong"]) for run in runs])[..., None]


def speed():
    """Texts a second of each recipe and the share of the machine's ceiling."""
    found, rows, ending = read("benchmark-speed.json"), [], " samples_per_second"
    for recipe in [n.removesuffix(ending) for n in found["measured"] if n.endswith(ending)]:
        own = found["precision"] if recipe == "notebook" else "fp32"
        ceiling = found["measured"][f"ceiling {DTYPES[own]} flop_per_second"]["median"]
        rate = found["measured"][recipe + ending]
        flop = found["measured"][f"{recipe} flop_per_second"]["median"]
        shown = [bracketed(rate["median"], rate["range"], ".1f"), f"{ceiling / 1e9:.0f}"]
        rows.append([recipe, own, *shown, f"{flop / ceiling:.0%}"])
    head = ["recipe", "precision", "texts/s, median [range]", "ceiling, GFLOP/s"]
    return table([*head, "of the ceiling"], rows)


DTYPES = {"fp32": "torch.float32", "bf16": "torch.bfloat16"}


def ratios():
    """What was compared round by round: median and range."""
    found = read("benchmark-speed.json")["measured"]
    rows = [
        [name, bracketed(found[name]["median"], found[name]["range"], ".2f")]
        for name in found
        if " / " in name
    ]
    return table(["compared within a round", "median [range]"], rows)


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
