"""W&B: online, offline or off; training never waits on it; what a server receives."""

import json
import os
import shlex
import shutil
import sys
import types
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import pytest
import transformers
import wandb
import yaml
from helpers import (
    NO_HUB,
    ROOT,
    WANDB_SERVER,
    clean_environment,
    execute,
    outputs,
    papermill,
    papermill_command,
    wandb_inspect,
)

NEEDS_SERVER = pytest.mark.skipif(not WANDB_SERVER.exists(), reason="no W&B server on loopback")


# What the cells that start a run want from those before them.
GIVEN = {"wandb": wandb, "transformers": transformers, "counts": pd.DataFrame({"train": [1]})}


@pytest.fixture
def start(notebook, setup, monkeypatch, tmp_path):
    """Start a run by the notebook's function; return the modes that it asked wandb.init for."""

    def start(key=False, answers=True):
        asked = []

        def init(mode=None, **_):
            asked.append(mode)
            if mode is None and not answers:
                raise wandb.errors.CommError("the server does not answer")
            return types.SimpleNamespace(log=lambda _: None)

        def login(**_):
            if key == "malformed":
                raise wandb.errors.AuthenticationError("API key must have 40+ characters")
            return key

        monkeypatch.setattr(wandb, "init", init)
        monkeypatch.setattr(wandb, "login", login)
        notebook.run("start-run", **setup, **GIVEN, checkpoint_folder=tmp_path)["start_run"]()
        return asked

    return start


def test_mode(start, monkeypatch, capsys):
    """None leaves it to wandb.init: online, or what WANDB_MODE says."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert start() == ["offline"], "without a key"
    assert start(key=True) == [None], "with a key"
    assert start(key=True, answers=False) == [None, "offline"]
    assert "does not answer" in capsys.readouterr().out
    assert start(key="malformed") == ["offline"]
    assert "40+ characters" in capsys.readouterr().out
    monkeypatch.setenv("WANDB_MODE", "online")
    assert start() == start(key=True) == [None]
    with pytest.raises(wandb.errors.CommError):
        start(key=True, answers=False)


def test_users_environment_wins(notebook, setup, monkeypatch, tmp_path):
    given = {"WANDB_PROJECT": "mine", "WANDB_RUN_GROUP": "my group", "WANDB_TAGS": "one,two"}
    given |= {"WANDB_NAME": "my name", "WANDB_JOB_TYPE": "my job", "WANDB_RUN_ID": "myid"}
    given |= {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    cells = {"sources": {"model_name": "m"}, "recipe_hash": "a", "note": None, "recorded": {}}
    cells |= {"environment": {}, "precision": "fp32", "checkpoint_folder": tmp_path}
    run = notebook.run("start-run", "start-tracking", **setup, **GIVEN, **cells)["run"]
    run.finish()
    (folder,) = (tmp_path / "wandb").glob("offline-run-*-myid")
    shown = wandb_inspect(folder)
    for name, value in {
        "project": "mine",
        "run_group": "my group",
        "display_name": "my name",
    }.items():
        assert f'"{name}":"{value}"' in shown
    assert '"tags":["one","two"]' in shown and '"job_type":"my job"' in shown


@pytest.fixture
def online(tmp_path):
    """A run on the sample with the real client online; return it and what the server received."""

    def online(server=None, **parameters):
        received = tmp_path / "received.json"
        environment = {**NO_HUB, "WANDB_RECORD": str(received), **(server or {})}
        serve = [sys.executable, WANDB_SERVER, "--"]
        quick = {"num_epochs": 1, "max_train_samples": 64}
        finished = papermill(tmp_path, environment, *serve, **quick | parameters)
        return finished, json.loads(received.read_text())

    return online


@NEEDS_SERVER
@pytest.mark.slow
def test_online_run_arrives(online, tmp_path):
    """History, summary, flat configuration, and W&B's own system metrics."""
    finished, received = online()
    (run,) = received["runs"]
    record = json.loads((tmp_path / "out" / "sample" / "metrics.json").read_text())
    logged = {name for row in run["history"] for name in row}
    assert {"train/loss", "train/learning_rate", "eval/loss", "eval/macro_f1"} <= logged
    for split in ("validation", "test"):
        for name in record["validation"]:
            assert run["summary"][f"{split}/{name}"] == pytest.approx(record[split][name])
            assert f"{split}/{name}" not in logged
    assert record["parameters"].items() <= run["config"].items()
    assert {record["environment"]["precision"], "sqrt", "all-MiniLM-L6-v2"} == {*run["tags"]}
    assert run["system_metrics"] and run["state"] == "finished"
    assert "http://127.0.0.1" in outputs(finished.notebook), "the run's address is shown"


def test_private_texts_are_not_uploaded(notebook, setup, tmp_path):
    """log_texts bounds the table of predictions, or leaves it out."""
    logged, classes = [], np.array([0, 1] * 5)
    given = {"test_labels": classes, "test_predicted": classes, "class_names": ["a", "b"]}
    given |= {"test_probabilities": np.full((10, 2), 0.5), "np": np, "wandb": wandb, "figures": {}}
    given |= {"losses": pd.DataFrame({"text": ["private"] * 10}), "run_folder": tmp_path}
    given |= {"run": types.SimpleNamespace(log=logged.append, finish=lambda: None)}
    given |= {"lock": filelock.FileLock(tmp_path / ".lock")}
    for number in (0, 3):
        given["checkpoint_folder"] = tmp_path / "checkpoints" / str(number)
        given["checkpoint_folder"].mkdir(parents=True)
        notebook.run("track-classes", **setup | given | {"log_texts": number})
    assert "test/mistakes" not in logged[0]
    assert len(logged[1]["test/mistakes"].data) == 3


@pytest.mark.parametrize(
    "server",
    [
        {"WANDB_REFUSE_KEY": "1"},
        {"WANDB_DOWN": "3,23"},  # while it trains
        {"WANDB_FAIL": "3"},
    ],
)
@NEEDS_SERVER
@pytest.mark.slow
def test_run_ends_whatever_the_server_does(online, server):
    finished, _ = online(server=server)
    if "WANDB_REFUSE_KEY" in server:
        assert "recorded offline instead" in outputs(finished.notebook)


def test_sweep_searches_parameters_that_there_are(notebook):
    sweep = yaml.safe_load((ROOT / "wandb" / "sweep.yaml").read_text())
    assert sweep["metric"]["name"] == "validation/macro_f1", "of the kept epoch, never of test"
    for name, choices in sweep["parameters"].items():
        for value in choices["values"]:
            notebook.up_to("check-parameters", **{name: value})


AGENT = """
sweep=$(wandb sweep wandb/sweep.yaml 2>&1 | grep -o 'wandb agent .*')
wandb agent --count 2 "${sweep#wandb agent }"
"""


@NEEDS_SERVER
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the sweep's command is one for bash")
def test_two_runs_of_a_sweep(tmp_path):
    """By W&B's own sweep and agent, in a copy of the project."""
    for name in ("EmotionClassification.ipynb", "wandb/sweep.yaml", "tests/sample"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    search = (tmp_path / "wandb" / "sweep.yaml").read_text().replace("[2, 3, 4]", "[1]")
    (tmp_path / "wandb" / "sweep.yaml").write_text(search)
    environment = {**NO_HUB, "WANDB_RECORD": str(tmp_path / "received.json")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, WANDB_SERVER, "--", "bash", "-c", AGENT]
    execute(command, clean_environment(tmp_path, environment), cwd=tmp_path)
    received = json.loads((tmp_path / "received.json").read_text())
    ((_, asked),) = received["sweeps"].items()
    runs = {run["id"]: run for run in received["runs"]}
    assert len(asked) == len(runs) == 2
    for choice in asked:
        run = runs[choice["id"]]
        assert choice["arguments"].items() <= run["config"].items()
        assert run["state"] == "finished" and "validation/macro_f1" in run["summary"]


@NEEDS_SERVER
@pytest.mark.slow
def test_killed_and_resumed_online(tmp_path):
    """Killed with its W&B process after the second checkpoint, given again: one finished run."""
    command = " ".join(shlex.quote(str(part)) for part in papermill_command(tmp_path))
    script = f"""
    {command} & moment="{tmp_path}/out/sample/checkpoints/*/checkpoint-28"
    while kill -0 $! && ! ls $moment; do sleep 0.1; done
    kernel=$(pgrep -P $!); pkill -9 -P $kernel; kill -9 $kernel $!; wait; {command}
    """
    environment = {**NO_HUB, "WANDB_RECORD": str(tmp_path / "received.json")}
    command = [sys.executable, WANDB_SERVER, "--", "bash", "-c", script]
    execute(command, clean_environment(tmp_path, environment))
    (run,) = json.loads((tmp_path / "received.json").read_text())["runs"]
    assert run["state"] == "finished" and "test/accuracy" in run["summary"]
