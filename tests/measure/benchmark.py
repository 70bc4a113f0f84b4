"""Measure the speed of training; recipes are compared within one run, because machines are noisy.

    python tests/measure/benchmark.py

It prints what it found and writes it to figures/benchmark-speed.json. On a machine that does
nothing else, three rounds take about 15 minutes. On a GPU it takes five times as many steps.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import ROOT, Notebook

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
QUIET = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
QUIET |= {"report_to": [], "disable_tqdm": True, "num_train_epochs": 1}
PADDED = "every text padded to 128 tokens, batch 16"  # the project that this one grew from
PLAIN = "plain Trainer, batch 64"  # chapter 2 of "Natural Language Processing with Transformers"
RECIPES = (PADDED, PLAIN, "notebook", "notebook in fp32")
WARM_UP = 2  # steps left out at the start of each measurement


def cells_up_to_the_trainer(parameters):
    """Run the notebook's own cells up to its trainer."""
    cells = Notebook().up_to("schedule", **{"offline_fallback": False, **parameters})
    unrecorded = {"checkpoint_folder": tempfile.mkdtemp(), "LogToRun": transformers.TrainerCallback}
    return Notebook().run("trainer", **cells, **unrecorded)


def wait_for_gpu():
    """Let the GPU end what it has been given, before the time is read."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class Clock(transformers.TrainerCallback):
    """Keeps the time at the end of each optimizer step."""

    def __init__(self):
        self.ends = []

    def on_step_end(self, *_, **__):
        wait_for_gpu()
        self.ends.append(time.perf_counter())


def spread_out(trainer, steps):
    """Leave the trainer so many whole batches of its own epoch, evenly spread over it, in order.

    The first batches of a sampler that groups by length are not like the rest.
    """
    steps *= 5 if torch.cuda.is_available() else 1  # else it would be over within a second
    size, rows = trainer.args.per_device_train_batch_size, trainer.train_dataset
    order = list(trainer._get_train_sampler(rows))
    batches = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
    taken = [batches[i] for i in np.linspace(0, len(batches) - 1, steps).astype(int)]
    trainer.train_dataset = rows.select(np.concatenate(taken))
    trainer.args.train_sampling_strategy = "sequential"
    return trainer


def measure(trainer):
    """Train one epoch; return samples/s, real tokens/s and the batches."""
    asked = [precision for precision in ("bf16", "fp16") if getattr(trainer.args, precision)]
    assert [trainer.accelerator.mixed_precision] == (asked or ["no"])
    batches, clock, collate = [], Clock(), trainer.data_collator

    def keep(features):
        batches.append(collate(features))
        return batches[-1]

    trainer.data_collator = keep
    trainer.add_callback(clock)
    trainer.train()
    seconds = clock.ends[-1] - clock.ends[WARM_UP - 1]
    counted = batches[WARM_UP : len(clock.ends)]
    samples = sum(len(batch["labels"]) for batch in counted)
    tokens = sum(batch["attention_mask"].sum().item() for batch in counted)
    rates = {"samples_per_second": samples / seconds, "tokens_per_second": tokens / seconds}
    return rates, batches


def recipes(cells):
    """A function for each recipe that makes its trainer, on the texts of train."""
    ours, rows = cells["trainer"].args, cells["tokenised"]["train"]
    plain = {"output_dir": ours.output_dir, "use_cpu": ours.use_cpu, "logging_steps": 10, **QUIET}

    def padded():
        texts = cells["splits"]["train"]
        encoded = cells["tokenizer"]([*texts["text"]], padding="max_length", max_length=128)
        return datasets.Dataset.from_dict({**encoded, "label": [*texts["label"]]})

    def plain_trainer(batch, data):
        arguments = transformers.TrainingArguments(per_device_train_batch_size=batch, **plain)
        common = {"model": cells["model"], "processing_class": cells["tokenizer"]}
        return transformers.Trainer(args=arguments, train_dataset=data, **common)

    return {
        PADDED: lambda: spread_out(plain_trainer(16, padded()), 12),
        PLAIN: lambda: spread_out(plain_trainer(64, rows), 10),
        "notebook": lambda: spread_out(own_trainer(cells, rows), 32),
        "notebook in fp32": lambda: spread_out(own_trainer(in_fp32(cells), rows), 12),
    }


def in_fp32(cells):
    """The notebook's cells with its trainer made anew in float32, as on hardware without bf16."""
    recipe = {**cells["recipe"], "bf16": False, "fp16": False}
    return Notebook().run("trainer", **{**cells, "recipe": recipe})


def own_trainer(cells, rows):
    """The notebook's trainer on some rows, without evaluation, checkpoints and reports."""
    trainer = cells["trainer"]
    trainer.remove_callback(transformers.ProgressCallback)
    vars(trainer.args).update(QUIET)  # new arguments would undo the accelerator's precision
    trainer.train_dataset = rows
    return trainer


def ceiling(tokens, device, dtype):
    """FLOP/s of the matrix products of one encoder layer, for a batch of so many tokens."""
    shapes = [(768, 768)] * 4 + [(768, 3072), (3072, 768)]
    pairs = [(torch.randn(tokens, a), torch.randn(a, b)) for a, b in shapes]
    repeats = 1000 if device.type == "cuda" else 10
    pairs = [(x.to(device, dtype), w.to(device, dtype)) for x, w in pairs]
    for repeat in range(repeats + WARM_UP):
        if repeat == WARM_UP:
            wait_for_gpu()
            start = time.perf_counter()
        for x, w in pairs:
            x @ w
    wait_for_gpu()
    return repeats * sum(2 * tokens * a * b for a, b in shapes) / (time.perf_counter() - start)


def speed_of(recipe, parameters):
    """Measure one recipe; with the notebook's own, all else that is compared with it."""
    cells = cells_up_to_the_trainer(parameters)
    model, device = cells["model"], cells["trainer"].args.device
    embeddings = sum(p.numel() for n, p in model.named_parameters() if "embeddings" in n)
    flop_per_token = 6 * (model.num_parameters() - embeddings)  # forward and backward
    rates, batches = measure(recipes(cells)[recipe]())
    rates["flop_per_second"] = flop_per_token * rates.pop("tokens_per_second")
    measured = {f"{recipe} {rate}": value for rate, value in rates.items()}
    if recipe == "notebook":
        tokens = round(np.mean([batch["attention_mask"].sum().item() for batch in batches]))
        for dtype in map(DTYPES.get, dict.fromkeys(["fp32", "bf16", cells["precision"]])):
            measured[f"ceiling {dtype} flop_per_second"] = ceiling(tokens, device, dtype)
    return {"precision": cells["precision"], "measured": measured}


def speed(rounds, parameters):
    """Measure the recipes in turn, each in a fresh process, several rounds.

    The first two train in fp32; notebook: its own trainer and arguments.
    """
    found = []
    for number in range(rounds):
        measured = {}
        for recipe in RECIPES:
            command = [sys.executable, __file__, "--recipe", recipe]
            command += ["--parameters", json.dumps(parameters)]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            part = json.loads(output.splitlines()[-1])
            measured |= part["measured"]
        found.append(measured | ratios(measured, part["precision"]))
        print(f"round {number + 1} of {rounds} done", flush=True)
    return summary(found)


def ratios(measured, precision):
    """One round's comparisons: the notebook's speed against the others' and the ceiling's."""
    own = measured["notebook samples_per_second"]
    rate = measured["notebook flop_per_second"]
    return {
        f"notebook / {PADDED}": own / measured[f"{PADDED} samples_per_second"],
        f"notebook / {PLAIN}": own / measured[f"{PLAIN} samples_per_second"],
        "notebook / notebook in fp32": own / measured["notebook in fp32 samples_per_second"],
        "notebook / ceiling": rate / measured[f"ceiling {DTYPES[precision]} flop_per_second"],
    }


def circumstances():
    """Machine, commit, and the machine's ceiling in the notebook's precision."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cells = Notebook().run("imports", "parameters", "precision", device=device)
    return {
        "machine": torch.cuda.get_device_name() if device.type == "cuda" else cpu(),
        "commit": os.environ.get("COMMIT") or commit(),  # a copy may be without git
        "precision": cells["precision"],
        "ceiling_flop_per_second": ceiling(1024, device, DTYPES[cells["precision"]]),
    }


def commit():
    """The commit that is checked out."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def cpu():
    """The processor's name where Linux tells it, the vector unit and the number of threads."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    unit, threads = torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()
    return f"{(names or ['CPU'])[0]}, {unit}, {threads} threads"


def summary(rounds):
    """Return median, minimum and maximum of each measurement over the rounds."""
    values = {name: [measured[name] for measured in rounds] for name in rounds[0]}
    found = {
        n: {"median": statistics.median(v), "range": [min(v), max(v)]} for n, v in values.items()
    }
    return {"rounds": len(rounds), "measured": found}


def main():
    """Measure all recipes; or one, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=RECIPES, help="measure this one in this process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parameters", type=json.loads, default={}, help="the notebook's, as JSON")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    if options.recipe:
        return print(json.dumps(speed_of(options.recipe, options.parameters)))
    found = circumstances() | speed(options.rounds, options.parameters)
    for name, value in found["measured"].items():
        low, high = value["range"]
        print(f"{name}: {value['median']:,.4g} ({low:,.4g} to {high:,.4g})")
    path = ROOT / "figures" / "benchmark-speed.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
