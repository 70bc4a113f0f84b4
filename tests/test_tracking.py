"""W&B: online, offline or off; training never waits on it; what a server receives."""

import json
import os
import shlex
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
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
)

NEEDS_SERVER = pytest.mark.skipif(not WANDB_SERVER.exists(), reason="no W&B server on loopback")


@pytest.fixture
def start(notebook, setup, monkeypatch, tmp_path):
    """Start a run by the notebook's function; return the modes that it asked wandb.init for."""

    def start(key=False, answers=("init", "artifact"), **environment):
        for name in ("WANDB_MODE", "WANDB_DISABLED"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        asked = []

        def ask(call):
            if call not in answers and asked[-1] is None:
                raise wandb.errors.CommError("the server does not answer")

        def init(mode=None, **options):
            asked.append(mode)
            ask("init")
            run = dict.fromkeys(("log_artifact", "use_artifact"), lambda _: ask("artifact"))
            return types.SimpleNamespace(offline=mode == "offline", **run)

        def login(**_):
            if key == "malformed":
                raise ValueError("API key must have 40+ characters")
            return key

        monkeypatch.setattr(wandb, "init", init)
        monkeypatch.setattr(wandb, "login", login)
        given = {"checkpoint_folder": tmp_path, "main_process": True}
        notebook.run("start-run", **setup, **given)["start_run"](artifact=None)
        return asked

    return start


def test_mode(start, capsys):
    assert start() == ["offline"], "without a key"
    assert start(key=True) == [None], "with a key, W&B's default, online"
    for answers in ((), ("init",)):
        assert start(key=True, answers=answers) == [None, "offline"]
        assert "does not answer" in capsys.readouterr().out
    assert start(key="malformed") == ["offline"]
    assert "40+ characters" in capsys.readouterr().out
    for mode in ("offline", "disabled", "online"):
        assert start(WANDB_MODE=mode) == start(key=True, WANDB_MODE=mode) == [mode], "obeyed"
    assert start(key=True, WANDB_DISABLED="true") == ["disabled"]
    assert "WANDB_DISABLED is set" in capsys.readouterr().out


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
    """History, summary, flat configuration, lineage, and W&B's own system metrics."""
    finished, received = online(log_model=True)
    (run,) = received["runs"]
    record = json.loads((tmp_path / "out" / "sample" / "metrics.json").read_text())
    rows = [row for row in run["history"] if any(key.startswith("test/") for key in row)]
    assert [row["test/accuracy"] for row in rows] == [pytest.approx(record["test"]["accuracy"])]
    assert {key for row in rows for key in row if key.startswith("test/")} == {
        f"test/{name}" for name in record["test"]["intervals"]
    }
    for split in ("validation", "test"):
        for name, (low, high) in record[split]["intervals"].items():
            found = [run["summary"][f"{split}/{name}{end}"] for end in ("", "_low", "_high")]
            assert found == pytest.approx([record[split][name], low, high])
    assert record["parameters"].items() <= run["config"].items()
    assert run["job_type"] == "train" and {"bf16", "sqrt"} & {*run["tags"]}
    (data,), artifacts = run["used_artifacts"], {a["type"]: a for a in run["artifacts"]}
    assert data["files"][0]["name"] == "sources.json" and data["state"] == "COMMITTED"
    assert data["metadata"] == record["inputs"]
    assert artifacts["model"]["name"] == f"model-{record['recipe']}"
    assert run["system_metrics"] and run["state"] == "finished"
    assert "http://127.0.0.1" in outputs(finished.notebook), "the run's address is shown"


def test_data_artifacts_differ_with_the_data(notebook, setup, monkeypatch):
    """W&B versions an artifact by its files alone."""
    artifacts = []
    given = {"start_run": lambda artifact, **_: artifacts.append(artifact), "recorded": {}}
    given |= {"environment": {}, "recipe_hash": "a", "note": None, "precision": "fp32"}
    for name in ("my reviews (1).csv", "отзывы.csv", "отзывы.csv"):
        sources = {"dataset_name": name, "model_name": "m", "dataset_sha256": len(artifacts)}
        notebook.run("start-tracking", **setup, **given, sources=sources, wandb=wandb)
    assert len({artifact.digest for artifact in artifacts}) == 3


def test_private_texts_are_not_uploaded(notebook, setup):
    """log_texts bounds the table of predictions, or leaves it out."""
    logged, classes = [], np.array([0, 1] * 5)
    given = {"test_labels": classes, "test_predicted": classes, "class_names": ["a", "b"]}
    given |= {"test_probabilities": np.full((10, 2), 0.5), "wandb": wandb, "figures": {}}
    given |= {"losses": pd.DataFrame({"text": ["private"] * 10}), "figures_folder": ROOT}
    given |= {"run": types.SimpleNamespace(log=logged.append)}
    for number in (0, 3):
        notebook.run("track-classes", **setup | given | {"log_texts": number})
    assert "mistakes/predictions" not in logged[0]
    assert len(logged[1]["mistakes/predictions"].data) == 3


@pytest.mark.parametrize(
    "server, mode",
    [
        ({"WANDB_REFUSE_KEY": "1"}, "offline"),
        ({"WANDB_DOWN": "0,30"}, "offline"),  # no answer to the call after init
        ({"WANDB_DOWN": "3,23"}, "either"),  # while it trains
        ({"WANDB_FAIL": "3"}, "either"),
    ],
)
@NEEDS_SERVER
@pytest.mark.slow
def test_run_ends_whatever_the_server_does(online, server, mode):
    finished, _ = online(server=server)
    if mode == "offline":
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
    {command} & while ! ls {tmp_path}/out/sample/checkpoints/*/checkpoint-28; do sleep 0.1; done
    pkill -9 -P $!; pkill -9 wandb-core; kill -9 $!; wait; {command}
    """
    environment = {**NO_HUB, "WANDB_RECORD": str(tmp_path / "received.json")}
    command = [sys.executable, WANDB_SERVER, "--", "bash", "-c", script]
    execute(command, clean_environment(tmp_path, environment))
    (run,) = json.loads((tmp_path / "received.json").read_text())["runs"]
    assert run["state"] == "finished" and "test/accuracy" in run["summary"]
