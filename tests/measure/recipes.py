"""Compare training recipes on validation, by hand; test is never predicted here.

    python tests/measure/recipes.py --seeds 42 43 44 --processes 2

Each recipe changes one thing of the notebook's own, at all-MiniLM-L6-v2's size, and runs once a
seed in a process of one thread. What is found is kept in figures/recipes.json, run by run.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import torch
import transformers
from scipy.special import softmax
from sklearn.metrics import log_loss

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import AUDIT, LOAD, MINILM, MODEL, ROOT, TOKENS, TRAINER, Notebook

BASE = {
    **MINILM,
    "learning_rate": 2e-4,
    "train_batch_size": 64,
    "num_epochs": 2,
}
RECIPES = {
    "base": {},
    "3 epochs": {"num_epochs": 3},
    "learning rate 1e-4": {"learning_rate": 1e-4},
    "learning rate 4e-4": {"learning_rate": 4e-4},
    "weights sqrt": {"class_weighting": "sqrt"},
    "weights none": {"class_weighting": "none"},
    "batch 32": {"train_batch_size": 32},
    "contradicting rows kept": {"keep_rows": True},
    "label smoothing 0.1": {"smoothing": 0.1},
    "layer-wise decay 0.8": {"layer_decay": 0.8},
    "cosine schedule": {"schedule": "cosine"},
    "no dropout": {"dropout": 0.0},
    "weight decay 0.1": {"weight_decay": 0.1},
    "average of weights 0.995": {"average": 0.995},
    "R-Drop 0.5": {"r_drop": 0.5},
}
PATH = ROOT / "figures" / "recipes.json"


def trainer_class(base, smoothing=0.0, layer_decay=1.0, r_drop=0.0):
    """The notebook's trainer with a smoothed loss, learning rates by layer, or R-Drop.

    Label smoothing: Szegedy et al. (2016); layer-wise decay: Howard and Ruder (2018), Clark et al.
    (2020); R-Drop: Liang et al. (2021).
    """

    class RecipeTrainer(base):
        def weighted_loss(self, outputs, labels, num_items_in_batch):
            cross_entropy = torch.nn.functional.cross_entropy(
                outputs.logits.float(),
                labels,
                weight=self.class_weights,
                reduction="sum",
                label_smoothing=smoothing if self.model.training else 0.0,
            )
            return cross_entropy / num_items_in_batch

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            first, outputs = super().compute_loss(model, dict(inputs), True, num_items_in_batch)
            loss = first
            if r_drop and model.training:
                second, again = super().compute_loss(model, dict(inputs), True, num_items_in_batch)
                p, q = (o.logits.float().log_softmax(-1) for o in (outputs, again))
                options = {"log_target": True, "reduction": "batchmean"}
                divergence = torch.nn.functional.kl_div(p, q, **options)
                divergence = divergence + torch.nn.functional.kl_div(q, p, **options)
                loss = (first + second) / 2 + r_drop * divergence / 2
            return (loss, outputs) if return_outputs else loss

        def create_optimizer(self, model=None):
            if layer_decay == 1.0:
                return super().create_optimizer(model)
            layers = self.model.config.num_hidden_layers
            groups = []
            for name, parameter in self.model.named_parameters():
                below_head = 0
                if "embeddings" in name:
                    below_head = layers + 1
                elif ".layer." in name:
                    below_head = layers - int(name.split(".layer.")[1].split(".")[0])
                rate = self.args.learning_rate * layer_decay**below_head
                decays = parameter.ndim > 1  # as in the Trainer: neither biases nor layer norms
                decay = self.args.weight_decay if decays else 0.0
                groups.append({"params": [parameter], "lr": rate, "weight_decay": decay})
            self.optimizer = torch.optim.AdamW(groups)
            return self.optimizer

    return RecipeTrainer


class WeightAverage(transformers.TrainerCallback):
    """Exponential moving average of the weights, put into the model at the end of the training."""

    def __init__(self, decay):
        self.decay, self.average = decay, None

    def on_step_end(self, args, state, control, model, **_):
        if self.average is None:
            self.average = [parameter.detach().clone() for parameter in model.parameters()]
        torch._foreach_lerp_(self.average, list(model.parameters()), 1 - self.decay)
        if state.global_step == state.max_steps:
            with torch.no_grad():
                for parameter, average in zip(model.parameters(), self.average, strict=True):
                    parameter.copy_(average)


def run(name, seed):
    """Train one recipe with one seed; print its validation metrics after each epoch."""
    changes = {**RECIPES[name]}
    extra = ("keep_rows", "smoothing", "layer_decay", "schedule", "dropout", "average", "r_drop")
    special = {key: changes.pop(key) for key in extra if key in changes}
    notebook, folder = Notebook(), tempfile.mkdtemp()
    given = {"output_dir": folder, "figures_dir": folder, "offline_fallback": False}
    cells = notebook.up_to(*LOAD, **given, **BASE, **changes, seed=seed)
    whole = cells["dataset"]["train"]
    cells = notebook.run(*AUDIT, **cells)
    if special.get("keep_rows"):
        cells["dataset"]["train"] = whole
    cells = notebook.run(*TOKENS, *MODEL, *TRAINER[:-1], **cells)
    if "dropout" in special:
        for module in cells["model"].modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = special["dropout"]
    off = {"report_to": [], "disable_tqdm": True, "save_strategy": "no", "output_dir": folder}
    off |= {"load_best_model_at_end": False}
    off |= {"lr_scheduler_type": special.get("schedule", "linear")}
    cells["training_arguments"] = dataclasses.replace(cells["training_arguments"], **off)
    parts = {key: special[key] for key in ("smoothing", "layer_decay", "r_drop") if key in special}
    cells["WeightedLossTrainer"] = trainer_class(cells["WeightedLossTrainer"], **parts)
    trainer = notebook.run("trainer", **cells)["trainer"]
    trainer.compute_metrics = lambda output: {
        **cells["label_metrics"](output.label_ids, output.predictions.argmax(1)),
        "log_loss": log_loss(output.label_ids, softmax(output.predictions, axis=1)),
    }
    trainer.remove_callback(transformers.EarlyStoppingCallback)
    if "average" in special:
        trainer.add_callback(WeightAverage(special["average"]))
    trainer.train()
    epochs = [log for log in trainer.state.log_history if "eval_macro_f1" in log]
    names = ("eval_accuracy", "eval_macro_f1", "eval_log_loss")
    print(json.dumps([{key.removeprefix("eval_"): log[key] for key in names} for log in epochs]))


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
    found = json.loads(PATH.read_text()) if PATH.exists() else {"base": BASE, "validation": {}}

    def start(name, seed):
        command = [sys.executable, __file__, "--one", "--recipes", name, "--seeds", str(seed)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        options = {"capture_output": True, "text": True, "check": True, "env": environment}
        epochs = json.loads(subprocess.run(command, **options).stdout.splitlines()[-1])
        found["validation"].setdefault(name, {})[str(seed)] = epochs
        PATH.write_text(json.dumps(found, indent=1) + "\n")

    with ThreadPoolExecutor(options.processes) as pool:
        runs = [(name, seed) for seed in options.seeds for name in options.recipes]
        runs = [pair for pair in runs if str(pair[1]) not in found["validation"].get(pair[0], {})]
        for result in [pool.submit(start, *pair) for pair in runs]:
            result.result()
    for name, seeds in found["validation"].items():
        last = [epochs[-1] for epochs in seeds.values()]
        means = {key: round(float(np.mean([e[key] for e in last])), 4) for key in last[0]}
        print(f"{name}: {means}, {len(last)} seeds")


if __name__ == "__main__":
    main()
