"""W&B: online, offline or off; training never waits on it; what a server receives."""

import json
import subprocess
import sys
import types

import pytest
import yaml
from helpers import NO_HUB, ROOT, WANDB_SERVER, outputs, papermill


@pytest.fixture
def start(notebook, setup, monkeypatch, tmp_path):
    """Start a run by the notebook's function; return the modes that it asked wandb.init for."""
    import tempfile

    import wandb

    def start(key=False, answers=("init", "log_artifact"), **environment):
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        asked = []

        def ask(call):
            if call not in answers and asked[-1] is None:
                raise wandb.errors.CommError("the server does not answer")

        def init(settings, mode=None):
            asked.append(mode)
            ask("init")
            return types.SimpleNamespace(log_artifact=lambda _: ask("log_artifact"))

        monkeypatch.setattr(wandb, "init", init)
        monkeypatch.setattr(wandb, "login", lambda **_: key)
        start_run = notebook.run("start-run", **setup, wandb=wandb, tempfile=tempfile)["start_run"]
        start_run(artifact=None)
        return asked

    return start


def test_mode(start, capsys):
    assert start() == ["offline"], "without a key"
    assert start(key=True) == [None], "with a key, W&B's default, online"
    for answers in ((), ("init",)):
        assert start(key=True, answers=answers) == [None, "offline"]
        assert "does not answer" in capsys.readouterr().out
    for mode in ("offline", "disabled", "online"):
        assert start(WANDB_MODE=mode) == start(key=True, WANDB_MODE=mode) == [None], "obeyed"


@pytest.fixture
def online(tmp_path):
    """A run on the sample with the real client online; return it and what the server received."""
    if not WANDB_SERVER.exists():
        pytest.skip("there is no W&B server on loopback")

    def online(*before, server=None, **parameters):
        received = tmp_path / "received.json"
        environment = {**NO_HUB, "WANDB_RECORD": str(received), **(server or {})}
        serve = [sys.executable, WANDB_SERVER, "--"]
        quick = {"num_epochs": 1, "max_train_samples": 64}
        finished = papermill(tmp_path, environment, *serve, *before, **quick | parameters)
        assert finished.returncode == 0, finished.stderr[-3000:]
        return finished, json.loads(received.read_text())

    return online


def test_online_run_arrives(online, tmp_path):
    finished, received = online(log_model=True)
    text = json.dumps(received)
    record = json.loads((tmp_path / "out" / "sample" / "metrics.json").read_text())
    assert record["inputs"]["dataset_sha256"] in text and record["recipe"] in text
    for name in ("train/loss", "eval/macro_f1", "test/accuracy", "confusion_matrix_table"):
        assert name in text, name
    assert f"model-{record['recipe']}" in text, "the model, as log_model asks"
    assert str(ROOT) not in text and sys.prefix not in text, "no path that was not given"
    assert "http://127.0.0.1" in outputs(finished.notebook), "the run's address is shown"


@pytest.mark.parametrize(
    "server, mode",
    [
        ({"WANDB_REFUSE_KEY": "1"}, "offline"),
        ({"WANDB_DOWN": "0,30"}, "offline"),  # no answer to the call after init
        ({"WANDB_DOWN": "3,23"}, "either"),  # while it trains
        ({"WANDB_FAIL": "3"}, "either"),
    ],
)
@pytest.mark.slow
def test_run_ends_whatever_the_server_does(online, server, mode):
    finished, _ = online(server=server)
    if mode == "offline":
        assert "recorded offline instead" in outputs(finished.notebook)


def test_sweep_searches_parameters_that_there_are(notebook, setup):
    sweep = yaml.safe_load((ROOT / "wandb" / "sweep.yaml").read_text())
    assert sweep["metric"]["name"] == "eval/macro_f1", "on validation, never on test"
    for name, choices in sweep["parameters"].items():
        for value in choices["values"]:
            notebook.up_to(**{name: value})


def test_sweep_hands_its_choices_to_papermill(tmp_path):
    papermill = tmp_path / "papermill"
    papermill.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    papermill.chmod(0o755)
    *command, last = yaml.safe_load((ROOT / "wandb" / "sweep.yaml").read_text())["command"]
    assert last == "${args_no_hyphens}"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "WANDB_RUN_ID": "ab1"}
    pairs = ["learning_rate=5e-05", "class_weighting=sqrt"]
    options = {"env": environment, "capture_output": True, "text": True, "check": True}
    asked = subprocess.run([*command, *pairs], **options).stdout.split()
    assert asked[:2] == ["EmotionClassification.ipynb", "run-ab1.ipynb"]
    given = ["-p", "run_name", "sweep-ab1", "-p", "learning_rate", "5e-05"]
    assert asked[2:] == [*given, "-p", "class_weighting", "sqrt"]
