"""Compare training recipes on validation, by hand; test is never predicted here.

    OMP_NUM_THREADS=1 python tests/measure/recipes.py

Each recipe changes one thing of the notebook's default at all-MiniLM-L6-v2's size and runs once a
seed. All, the default too, are scored after their last epoch. Results are kept in
figures/recipes.json, run by run; those that it has are not run again. Augmentation needs WordNet's
program `wn` (Debian: wordnet).
"""

import functools
import itertools
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
import transformers
from benchmark import circumstances
from seeds import RARE
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

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
SEEDS = (42, 43, 44)
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


def with_copies(cells, kind, seed):
    """Return the table of train with a copy of each text of a rare class, the same or augmented."""
    train = cells["splits"]["train"]
    copies = train.loc[train["class"].isin(RARE), ["text", "class"]]
    if kind == "augmented":
        generator = np.random.default_rng(seed)
        copies = copies.assign(text=[augmented(text, generator) for text in copies["text"]])
    return pd.concat([train, Notebook().run("tokenise", **{**cells, "texts": copies})["texts"]])


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
    """Train one recipe with one seed; return its validation metrics at the end."""
    changes = {**RECIPES[name]}
    copies, dropout = changes.pop("copies", None), changes.pop("dropout", None)
    notebook, folder = Notebook(), tempfile.mkdtemp()
    given = {"output_dir": folder, "offline_fallback": False, "seed": seed}
    cells = notebook.up_to("subset", **{**given, **BASE, **changes})
    if copies:
        cells["splits"]["train"] = with_copies(cells, copies, seed)
    cells = notebook.run(*notebook.between("classes-left", "schedule"), **cells)
    if dropout is not None:
        for module in cells["model"].modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
    cells["schedule"] |= {"disable_tqdm": True, "save_strategy": "no"}
    cells["schedule"] |= {"load_best_model_at_end": False}
    unrecorded = {"checkpoint_folder": folder, "LogToRun": transformers.TrainerCallback}
    trainer = notebook.run("trainer", **cells, **unrecorded)["trainer"]
    average = WeightAverage()
    trainer.add_callback(average)
    trainer.train()
    if name == AVERAGED:
        average.replace(trainer.model)
    found = trainer.evaluate()
    return {n: found[f"eval_{n}"] for n in ("accuracy", "macro_f1", "log_loss")}


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    found = json.loads(PATH.read_text()) if PATH.exists() else {"validation": {}}
    found |= circumstances() | {"base": BASE}
    for seed, name in itertools.product(SEEDS, RECIPES):
        runs = found["validation"].setdefault(name, {})
        if str(seed) not in runs:
            runs[str(seed)] = run(name, seed)
            PATH.write_text(json.dumps(found, indent=1) + "\n")
            print(name, seed, runs[str(seed)], flush=True)
