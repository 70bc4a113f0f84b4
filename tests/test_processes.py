"""Two processes under torchrun: the step of one, and a run on the sample whose one rank dies."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from helpers import (
    NO_HUB,
    ROOT,
    SAMPLE,
    clean_environment,
    execute,
    papermill_command,
    wandb_summary,
)
from test_training import made_up_cells, one_step

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]


def main(folder):
    """Take one step, of which each process has its share; what torchrun executes below."""
    from helpers import Notebook

    notebook = Notebook()
    cells = made_up_cells(notebook, notebook.up_to("check-parameters"))
    change = one_step(notebook, cells, folder, batch=16)  # half of the rows
    if cells["main_process"]:
        torch.save(change, folder / "change.pt")
    if cells["processes"] > 1:
        torch.distributed.destroy_process_group()
        os._exit(0)  # as in the notebook: Python's own exit can abort in gloo's threads


@pytest.mark.slow
def test_two_processes_take_the_step_of_one(tmp_path):
    changes = []
    for command in ([sys.executable], TORCHRUN):
        execute([*command, __file__, tmp_path], os.environ)
        changes.append(torch.load(tmp_path / "change.pt"))
    for name in changes[0]:
        torch.testing.assert_close(changes[1][name], changes[0][name], atol=1e-6, rtol=1e-4)


@pytest.mark.slow
def test_a_rank_dies_then_the_run_goes_on(sample_run, tmp_path):
    command = papermill_command(tmp_path)
    execute([*command, "--prepare-only"], os.environ)
    convert = [sys.executable, "-m", "jupyter", "nbconvert", "--to", "script"]
    execute([*convert, tmp_path / "run.ipynb"], os.environ)
    environment = clean_environment(tmp_path, {**NO_HUB, "WANDB_MODE": "offline"})
    command, log = [*TORCHRUN, tmp_path / "run.py"], tmp_path / "log"
    results = tmp_path / "out" / "sample"
    with log.open("w") as file:
        started = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
        while not list(results.glob("checkpoints/*/checkpoint-28")):
            assert started.poll() is None, log.read_text()[-3000:]
            time.sleep(0.05)
        ranks = psutil.Process(started.pid).children()
        next(rank for rank in ranks if rank.environ().get("RANK") == "1").kill()
        assert started.wait(60) != 0
    assert not [rank for rank in ranks if rank.is_running()], "it ends the others"

    finished = execute(command, environment)
    assert finished.stdout.count("It continues from") == 1, "one rank speaks"
    record = json.loads((results / "metrics.json").read_text())
    single = json.loads((sample_run.results / "metrics.json").read_text())
    assert record["environment"]["processes"] == 2 and record["resumed"]
    steps = wandb_summary(max((tmp_path / "wandb").glob("offline-run-*")))["summary"]
    assert steps["train/global_step"] == single["training"]["step"], "as with one process"
    for name in ("accuracy", "macro_roc_auc"):  # another order of texts, as with another seed
        assert record["test"][name] == pytest.approx(single["test"][name], abs=0.12)
    predictions = pd.read_csv(results / "predictions.csv")
    assert predictions["text"].tolist() == pd.read_csv(SAMPLE / "test.csv")["text"].tolist()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
