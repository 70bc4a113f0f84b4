"""Measure speed and memory; recipes are compared within one run, because machines are noisy.

    python tests/measure/benchmark.py speed   # ceiling, recipes, Trainer's overhead, prediction
    python tests/measure/benchmark.py growth  # training time and peak memory by number of rows
    python tests/measure/benchmark.py start   # from the command to the start of training

Each prints what it found and writes it to figures/benchmark-PART.json.
"""

import argparse
import dataclasses
import json
import os
import resource
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
from helpers import MINILM, ROOT, Notebook, papermill_command

PARTS = ["speed", "growth", "start", "speed-of", "growth-of"]  # -of: one measurement, as JSON
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
QUIET = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
QUIET |= {"report_to": [], "disable_tqdm": True, "num_train_epochs": 1}
RECIPES = ("original", "book", "notebook", "notebook in fp32")
WARM_UP = 2  # steps left out at the start of each measurement


def cells_up_to_the_trainer(**parameters):
    """Run the notebook's own cells up to its trainer, with parameters replaced."""
    folder = tempfile.mkdtemp()
    skipped = ("environment", "folders", "secrets", "start-run", "terminal", "start-tracking")
    skipped += ("place", "training-arguments", "trainer", "distribution", "lengths-plot")
    cells = Notebook().up_to("trainer", *skipped, offline_fallback=False, **parameters)
    cells |= {"checkpoint_folder": folder, "terminal": None}
    return Notebook().run("training-arguments", "trainer", **cells)


class Clock(transformers.TrainerCallback):
    """Keeps the time at the end of each optimizer step."""

    def __init__(self):
        self.ends = []

    def on_step_end(self, *_, **__):
        self.ends.append(time.perf_counter())


def spread_out(trainer, steps):
    """Leave the trainer so many whole batches of its own epoch, evenly spread over it, in order.

    The first batches of a sampler that groups by length are not like the rest.
    """
    size, rows = trainer.args.per_device_train_batch_size, trainer.train_dataset
    order = list(trainer._get_train_sampler(rows))
    batches = [order[i : i + size] for i in range(0, len(order) - size + 1, size)]
    taken = [batches[i] for i in np.linspace(0, len(batches) - 1, steps).astype(int)]
    trainer.train_dataset = rows.select(np.concatenate(taken))
    trainer.args.train_sampling_strategy = "sequential"
    return trainer


def measure(trainer):
    """Train one epoch; return samples/s, real tokens/s, seconds a step and the batches."""
    assert trainer.accelerator.mixed_precision == ("bf16" if trainer.args.bf16 else "no")
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
    return {**rates, "seconds_per_step": seconds / len(counted)}, batches


def recipes(cells):
    """A function for each recipe that makes its trainer, on the texts of train."""
    ours, rows = cells["training_arguments"], cells["tokenised"]["train"]
    plain = {"output_dir": ours.output_dir, "use_cpu": ours.use_cpu, "logging_steps": 10, **QUIET}

    def padded():
        options = {"padding": "max_length", "max_length": 128}
        return cells["dataset"]["train"].map(
            lambda batch: cells["tokenizer"](batch["text"], **options),
            batched=True,
            remove_columns=["text"],
        )

    def plain_trainer(batch, data):
        arguments = transformers.TrainingArguments(per_device_train_batch_size=batch, **plain)
        common = {"model": cells["model"], "processing_class": cells["tokenizer"]}
        return transformers.Trainer(args=arguments, train_dataset=data, **common)

    return {
        "original": lambda: spread_out(plain_trainer(16, padded()), 12),
        "book": lambda: spread_out(plain_trainer(64, rows), 10),
        "notebook": lambda: spread_out(own_trainer(cells, rows), 32),
        "notebook in fp32": lambda: spread_out(own_trainer(in_fp32(cells), rows), 12),
    }


def in_fp32(cells):
    """The notebook's cells with its trainer made anew in float32, as on hardware without bf16."""
    arguments = dataclasses.replace(cells["training_arguments"], bf16=False)
    return Notebook().run("trainer", **{**cells, "training_arguments": arguments})


def own_trainer(cells, rows):
    """The notebook's trainer on some rows, without evaluation, checkpoints and reports."""
    trainer = cells["trainer"]
    off = [transformers.EarlyStoppingCallback, transformers.ProgressCallback]
    for callback in [*off, transformers.integrations.WandbCallback]:
        trainer.remove_callback(callback)
    vars(trainer.args).update(QUIET)  # new arguments would undo the accelerator's precision
    trainer.train_dataset = rows
    return trainer


def bare_loop(cells, batches):
    """Seconds a step of the same work on the same batches without the Trainer."""
    model, arguments = cells["model"].train(), cells["training_arguments"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    weights = torch.tensor(cells["class_weights"], dtype=torch.float32, device=arguments.device)
    starts = []
    for batch in batches:
        starts.append(time.perf_counter())
        batch = {name: value.to(arguments.device) for name, value in batch.items()}
        labels = batch.pop("labels")
        with torch.autocast(arguments.device.type, torch.bfloat16, cells["precision"] == "bf16"):
            logits = model(**batch).logits
        torch.nn.functional.cross_entropy(logits.float(), labels, weight=weights).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - starts[WARM_UP]) / (len(batches) - WARM_UP)


def ceiling(tokens, device, dtype, repeats=10):
    """FLOP/s of the matrix products of one encoder layer, for a batch of so many tokens."""
    shapes = [(768, 768)] * 4 + [(768, 3072), (3072, 768)]
    pairs = [(torch.randn(tokens, a), torch.randn(a, b)) for a, b in shapes]
    pairs = [(x.to(device, dtype), w.to(device, dtype)) for x, w in pairs]
    for repeat in range(repeats + WARM_UP):
        if repeat == WARM_UP:
            start = time.perf_counter()
        for x, w in pairs:
            x @ w
    if device.type == "cuda":
        torch.cuda.synchronize()
    return repeats * sum(2 * tokens * a * b for a, b in shapes) / (time.perf_counter() - start)


def prediction(cells, texts):
    """Texts a second, as the notebook predicts test and as pipeline() does by default."""
    split = cells["tokenised"]["test"].select(range(texts))
    start = time.perf_counter()
    cells["trainer"].predict(split.select(np.argsort(split["length"])))
    ours = texts / (time.perf_counter() - start)
    parts = {"model": cells["model"], "tokenizer": cells["tokenizer"]}
    classify = transformers.pipeline("text-classification", **parts)
    start = time.perf_counter()
    classify(list(cells["dataset"]["test"]["text"][:texts]))
    return {"notebook": ours, "pipeline": texts / (time.perf_counter() - start)}


def speed_of(recipe):
    """Measure one recipe; with the notebook's own, all else that is compared with it."""
    cells = cells_up_to_the_trainer()
    model, device = cells["model"], cells["training_arguments"].device
    embeddings = sum(p.numel() for n, p in model.named_parameters() if "embeddings" in n)
    flop_per_token = 6 * (model.num_parameters() - embeddings)  # forward and backward
    rates, batches = measure(recipes(cells)[recipe]())
    rates["flop_per_second"] = flop_per_token * rates.pop("tokens_per_second")
    measured = {f"{recipe} {rate}": value for rate, value in rates.items()}
    if recipe == "notebook":
        measured["bare loop seconds_per_step"] = bare_loop(cells, batches)
        tokens = round(np.mean([batch["attention_mask"].sum().item() for batch in batches]))
        for dtype in DTYPES.values():
            measured[f"ceiling {dtype} flop_per_second"] = ceiling(tokens, device, dtype)
        rates = prediction(cells, 640)
        measured |= {f"prediction by {name} texts_per_second": v for name, v in rates.items()}
    return {"precision": cells["precision"], "measured": measured}


def speed(rounds):
    """Measure the recipes in turn, each in a fresh process, several rounds.

    original: fp32, batch 16, padded to 128; book: fp32, batch 64, padded to the batch's longest;
    notebook: its own trainer and arguments; bare loop: the notebook's batches without the Trainer.
    """
    found = []
    for number in range(rounds):
        measured = {}
        for recipe in RECIPES:
            part = in_a_process("speed-of", "--recipe", recipe)
            measured |= part["measured"]
        found.append(measured | ratios(measured, part["precision"]))
        print(f"round {number + 1} of {rounds} done", flush=True)
    return summary(found)


def in_a_process(*options):
    """Return what this script prints as JSON when run anew with these options."""
    command = [sys.executable, __file__, *options]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(output.splitlines()[-1])


def ratios(measured, precision):
    """One round's comparisons: the notebook's speed against the others' and the ceiling's."""
    own = measured["notebook samples_per_second"]
    rate = measured["notebook flop_per_second"]
    step, bare = measured["notebook seconds_per_step"], measured["bare loop seconds_per_step"]
    return {
        "notebook / original": own / measured["original samples_per_second"],
        "notebook / book": own / measured["book samples_per_second"],
        "notebook / notebook in fp32": own / measured["notebook in fp32 samples_per_second"],
        "notebook / ceiling": rate / measured[f"ceiling {DTYPES[precision]} flop_per_second"],
        "Trainer's overhead over the bare loop": step / bare - 1,
    }


def circumstances():
    """Machine, commit, and the machine's ceiling in the notebook's precision."""
    precision = Notebook().run("imports", "parameters", "precision")["precision"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "machine": torch.cuda.get_device_name() if device.type == "cuda" else cpu(),
        "commit": commit.stdout.strip(),
        "precision": precision,
        "ceiling_flop_per_second": ceiling(1024, device, DTYPES[precision]),
    }


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


def growth_of(rows, model):
    """Train one epoch on so many rows; return seconds and peak memory."""
    cells = cells_up_to_the_trainer(**model)
    train = cells["tokenised"]["train"]
    train = train.select(np.resize(np.random.default_rng(0).permutation(len(train)), rows))
    seconds = own_trainer(cells, train).train().metrics["train_runtime"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"rows": rows, "seconds": seconds, "peak_memory_bytes": peak}


def growth(sizes, minilm):
    """Train on each number of rows in a fresh process; fit the exponent of time in rows."""
    found = []
    for rows in sizes:
        model = ["--minilm"] if minilm else []
        found.append(in_a_process("growth-of", "--rows", str(rows), *model))
        print(found[-1], flush=True)
    logarithms = [np.log([entry[name] for entry in found]) for name in ("rows", "seconds")]
    model = MINILM["model_name"] if minilm else "DistilBERT's shape"
    exponent = np.polyfit(*logarithms, 1)[0]
    return {"model": model, "runs": found, "exponent": exponent}


def start(rounds):
    """Seconds from the papermill command to the start of training, warm caches."""
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [*papermill_command(Path(folder)), "--log-output"]
            environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": folder}
            pipe = {"stderr": subprocess.PIPE, "cwd": ROOT, "env": environment, "bufsize": 0}
            begun = time.perf_counter()
            with subprocess.Popen(command, **pipe) as process:
                seen = b""
                while b"wandb sync" not in seen:  # what the notebook prints before it trains
                    seen += process.stderr.read(1)
                found.append({"seconds to the start of training": time.perf_counter() - begun})
                process.kill()
    return summary(found)


def main():
    """Run the part that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--recipe", default="notebook")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 4000, 8000, 16000, 64000])
    parser.add_argument("--minilm", action="store_true", help="all-MiniLM-L6-v2, not DistilBERT")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    model = MINILM if options.minilm else {}
    if options.part == "growth-of":
        return print(json.dumps(growth_of(options.rows[0], model)))
    if options.part == "speed-of":
        return print(json.dumps(speed_of(options.recipe)))
    found = circumstances()  # before the measurement, on a machine that does nothing else
    found |= {
        "speed": lambda: speed(options.rounds),
        "growth": lambda: growth(options.rows, options.minilm),
        "start": lambda: start(options.rounds),
    }[options.part]()
    for name, value in found.get("measured", {}).items():
        low, high = value["range"]
        print(f"{name}: {value['median']:,.4g} ({low:,.4g} to {high:,.4g})")
    path = ROOT / "figures" / f"benchmark-{options.part}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
