"""Compare training recipes on validation, by hand; test is never predicted here.

    OMP_NUM_THREADS=1 python tests/measure/recipes.py

Each recipe changes one thing of the notebook's default at all-MiniLM-L6-v2's size and runs once a
seed. All, the default too, are scored after their last epoch. Results are kept in
figures/recipes.json, run by run; those that it has are not run again.
"""

import itertools
import json
import sys
import tempfile
from pathlib import Path

import datasets
import numpy as np
import transformers
from benchmark import circumstances

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import MINILM, ROOT, Notebook

BASE = {**MINILM, "learning_rate": 2e-4, "train_batch_size": 64}
RECIPES = {"default": {}, "2 epochs": {"num_epochs": 2}}
SEEDS = range(42, 45)
PATH = ROOT / "figures" / "recipes.json"


def scores(cells, probabilities):
    """Return what is kept of a run: metrics, and which texts without a coin toss it gets wrong.

    cells: the notebook's, with its splits and metrics; probabilities: of validation, (n, classes).
    The wrong texts are indices into those that do not hang on a coin toss.
    """
    rows = cells["splits"]["validation"]
    labels, others = rows["label"].to_numpy(), ~cells["hangs_on_coin"](rows["text"])
    found = cells["all_metrics"](labels, probabilities)
    without = cells["all_metrics"](labels[others], probabilities[others])
    wrong = probabilities[others].argmax(axis=1) != labels[others]
    return {
        **{name: found[name] for name in ("accuracy", "macro_f1", "log_loss")},
        "without_coin_word": {
            **{name: without[name] for name in ("accuracy", "log_loss")},
            "texts": int(others.sum()),
            "wrong": np.flatnonzero(wrong).tolist(),
        },
    }


def run(name, seed):
    """Train one recipe with one seed; return its scores on validation at the end."""
    notebook, folder = Notebook(), tempfile.mkdtemp()
    given = {"output_dir": folder, "offline_fallback": False, "seed": seed}
    cells = notebook.up_to("schedule", **{**given, **BASE, **RECIPES[name]})
    cells["schedule"] |= {"disable_tqdm": True, "save_strategy": "no"}
    cells["schedule"] |= {"load_best_model_at_end": False}
    unrecorded = {"checkpoint_folder": folder, "LogToRun": transformers.TrainerCallback}
    cells = notebook.run("trainer", **cells, **unrecorded)
    cells["trainer"].train()
    cells["tokenised"]["test"] = cells["tokenised"]["validation"]
    return scores(cells, notebook.run("predict", **cells)["test_probabilities"])


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
