"""Two processes under torchrun: the step of one, and a run on the sample whose one rank dies."""

import json
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
import torch
from conftest import NO_HUB, ROOT, clean_environment, papermill_command, wandb_summary

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]

ONE_STEP = """
import sys
sys.path.insert(0, "tests")
import numpy as np, torch, transformers
from conftest import NOTEBOOK, SETUP, Notebook
from test_training import LABELS, made_up_cells, one_step
notebook = Notebook(NOTEBOOK)
cells = made_up_cells(notebook, notebook.run(*SETUP))
weights = cells["class_weights"](LABELS, "balanced")
change = one_step(cells, sys.argv[1], weights, 32 // cells["environment"]["processes"], 1)
if cells["main_process"]:
    torch.save(change, sys.argv[1] + "/change.pt")
if cells["environment"]["processes"] > 1:
    torch.distributed.destroy_process_group()  # as the notebook does
"""


def test_two_processes_take_the_step_of_one(tmp_path):
    script = tmp_path / "one_step.py"
    script.write_text(ONE_STEP)
    changes = []
    for command in ([sys.executable], TORCHRUN):
        options = {"cwd": ROOT, "capture_output": True, "text": True}
        finished = subprocess.run([*command, script, tmp_path], **options)
        assert finished.returncode == 0, finished.stderr[-3000:]
        changes.append(torch.load(tmp_path / "change.pt"))
    for name in changes[0]:
        torch.testing.assert_close(changes[1][name], changes[0][name], atol=1e-6, rtol=1e-4)


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The notebook as a script with the parameters of sample_run, as README makes it."""
    folder = tmp_path_factory.mktemp("torchrun")
    command = papermill_command(folder, num_epochs=3, learning_rate=5e-4)
    subprocess.run([*command, "--prepare-only"], check=True, capture_output=True, cwd=ROOT)
    convert = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "script", folder / "run.ipynb"]
    subprocess.run(convert, check=True, capture_output=True)
    return folder / "run.py"


def test_a_rank_dies_then_the_run_goes_on(script, sample_run):
    folder = script.parent
    environment = clean_environment(folder, {**NO_HUB, "WANDB_MODE": "offline"})
    command, log = [*TORCHRUN, script], folder / "log"
    with log.open("w") as file:
        started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
        checkpoint = folder / "out" / "sample" / "checkpoints" / "checkpoint-28"
        while not checkpoint.exists():
            assert started.poll() is None, log.read_text()[-3000:]
            time.sleep(0.05)
        ranks = psutil.Process(started.pid).children()
        next(rank for rank in ranks if rank.environ().get("RANK") == "1").kill()
        assert started.wait(60) != 0
    assert not [rank for rank in ranks if rank.is_running()], "it ends the others"

    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.count("It goes on from") == 1, "one rank speaks"
    results = folder / "out" / "sample"
    record = json.loads((results / "metrics.json").read_text())
    single = json.loads((sample_run.folder / "out" / "sample" / "metrics.json").read_text())
    assert record["environment"]["processes"] == 2 and record["train"]["resumed"]
    steps = wandb_summary(max((folder / "wandb").glob("offline-run-*")))["summary"]
    assert steps["train/global_step"] == 42, "14 steps of 32 texts an epoch, as with one process"
    assert record["train"]["epochs"] == 3
    for name in ("accuracy", "macro_roc_auc"):  # another order of texts, as with another seed
        assert record["test"][name] == pytest.approx(single["test"][name], abs=0.12)
    predictions = pd.read_csv(results / "predictions.csv")
    test = pd.read_csv(ROOT / "tests" / "sample" / "test.csv")
    assert predictions["text"].tolist() == test["text"].tolist()
    assert len({run.name.split("-")[-1] for run in (folder / "wandb").glob("offline-run-*")}) == 1
