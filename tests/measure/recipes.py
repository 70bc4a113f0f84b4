"""Compare training recipes on validation, by hand; test is never predicted here.

    python tests/measure/recipes.py --seeds 42 43 44 --processes 2

Each recipe changes one thing of the notebook's default at all-MiniLM-L6-v2's size and runs once a
seed in a process of one thread. All, the default too, are scored after their last epoch. Results
are kept in figures/recipes.json, run by run. Augmentation needs WordNet's program `wn` (Debian:
wordnet).
"""

import argparse
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
import transformers
from benchmark import circumstances
from scipy.special import softmax
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.metrics import f1_score, log_loss

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import MINILM, ROOT, Notebook

BASE = {**MINILM, "learning_rate": 2e-4, "train_batch_size": 64}
AVERAGED = "average of the weights"
RECIPES = {
    "default": {},
    "2 epochs": {"num_epochs": 2},
    "no dropout": {"dropout": 0.0},
    AVERAGED: {},
    "rare classes twice": {"copies": "same"},
    "rare classes twice, augmented": {"copies": "augmented"},
}
RARE = ("love", "surprise")
PATH = ROOT / "figures" / "recipes.json"


@functools.cache
def synonyms(word):
    """What WordNet's own program `wn` lists as synonyms of a word, for all parts of speech."""
    command = ["wn", word, "-synsn", "-synsv", "-synsa", "-synsr"]
    shown = subprocess.run(command, capture_output=True, text=True).stdout
    senses = re.findall(r"^Sense \d+\n(.*)", shown, re.MULTILINE)
    words = {name.split("(")[0].split("#")[0].strip() for s in senses for name in s.split(", ")}
    return sorted(words - {word})


def augmented(text, generator):
    """One of EDA's changes of a tenth of the words: delete, swap, or replace by a synonym.

    Wei and Zou (2019), https://aclanthology.org/D19-1670/, without random insertion. Stop words get
    no synonyms.
    """
    words = text.split()
    change = generator.choice(["delete", "swap", "replace"])
    places = generator.permutation(len(words))
    if change == "replace":
        places = [p for p in places if words[p] not in ENGLISH_STOP_WORDS and synonyms(words[p])]
    places = places[: max(1, len(words) // 10)]
    if change == "delete" and len(words) > 1:
        words = [word for place, word in enumerate(words) if place not in places]
    for place in places if change != "delete" else ():
        if change == "swap":
            other = generator.integers(len(words))
            words[place], words[other] = words[other], words[place]
        else:
            words[place] = generator.choice(synonyms(words[place]))
    return " ".join(words)


def with_copies(train, kind, seed):
    """Add a copy of each text of a rare class to the table of train, the same or augmented."""
    copies = train[train["class"].isin(RARE)]
    if kind == "augmented":
        generator = np.random.default_rng(seed)
        copies = copies.assign(text=[augmented(text, generator) for text in copies["text"]])
    return pd.concat([train, copies])


class WeightAverage(transformers.TrainerCallback):
    """Exponential moving average of the weights over all steps, with decay 0.99."""

    average = None

    def on_step_end(self, args, state, control, model, **_):
        if self.average is None:
            self.average = [parameter.detach().clone() for parameter in model.parameters()]
        torch._foreach_lerp_(self.average, list(model.parameters()), 0.01)

    def replace(self, model):
        """Give the model the average in place of its weights."""
        with torch.no_grad():
            torch._foreach_copy_(list(model.parameters()), self.average)


def run(name, seed):
    """Train one recipe with one seed; print its validation metrics at the end."""
    changes = {**RECIPES[name]}
    copies, dropout = changes.pop("copies", None), changes.pop("dropout", None)
    notebook, folder = Notebook(), tempfile.mkdtemp()
    given = {"output_dir": folder, "figures_dir": folder, "offline_fallback": False}
    plots = ("distribution", "lengths-plot")
    cells = notebook.up_to("subset", *plots, **{**given, **BASE, **changes, "seed": seed})
    if copies:
        cells["splits"]["train"] = with_copies(cells["splits"]["train"], copies, seed)
    between = notebook.between("class-weights", "schedule", *plots)
    cells = notebook.run(*between, "trainer-class", **cells)
    if dropout is not None:
        for module in cells["model"].modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
    cells["schedule"] |= {"report_to": [], "disable_tqdm": True, "save_strategy": "no"}
    cells["schedule"] |= {"load_best_model_at_end": False}
    cells |= {"checkpoint_folder": folder, "terminal": None}
    trainer = notebook.run("training-arguments", "trainer", **cells)["trainer"]
    average = WeightAverage()
    trainer.compute_metrics = scores
    trainer.remove_callback(transformers.EarlyStoppingCallback)
    trainer.add_callback(average)
    trainer.train()
    if name == AVERAGED:
        average.replace(trainer.model)
    found = trainer.evaluate()
    print(json.dumps({n: found[f"eval_{n}"] for n in ("accuracy", "macro_f1", "log_loss")}))


def scores(output):
    """Validation metrics of a trainer's predictions."""
    labels, logits = output.label_ids, output.predictions
    found = {"log_loss": log_loss(labels, softmax(logits, axis=1))}
    found["accuracy"] = float((logits.argmax(1) == labels).mean())
    return found | {"macro_f1": f1_score(labels, logits.argmax(1), average="macro")}


def main():
    """Run each recipe with each seed that figures/recipes.json lacks; print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--one", action="store_true", help="run the first of both in this process")
    options = parser.parse_args()
    if options.one:
        transformers.logging.set_verbosity_error()
        datasets.disable_progress_bars()
        return run(options.recipes[0], options.seeds[0])
    found = json.loads(PATH.read_text()) if PATH.exists() else {"validation": {}}
    found |= circumstances() | {"base": BASE}

    def start(name, seed):
        command = [sys.executable, __file__, "--one", "--recipes", name, "--seeds", str(seed)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        options = {"capture_output": True, "text": True, "check": True, "env": environment}
        output = subprocess.run(command, **options).stdout
        metrics = json.loads(output.splitlines()[-1])
        found["validation"].setdefault(name, {})[str(seed)] = metrics
        PATH.write_text(json.dumps(found, indent=1) + "\n")

    with ThreadPoolExecutor(options.processes) as pool:
        runs = [(name, seed) for seed in options.seeds for name in options.recipes]
        runs = [pair for pair in runs if str(pair[1]) not in found["validation"].get(pair[0], {})]
        for result in [pool.submit(start, *pair) for pair in runs]:
            result.result()
    for name, seeds in found["validation"].items():
        means = pd.DataFrame(seeds).mean(axis=1).round(4).to_dict()
        print(f"{name}: {means}, {len(seeds)} seeds")


if __name__ == "__main__":
    main()
