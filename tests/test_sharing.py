"""The model on W&B and on the Hub, only where asked to; searches by `wandb sweep`."""

import os
import subprocess
import types

import pytest
import yaml
from conftest import ROOT


@pytest.fixture
def share(notebook, imports, tmp_path, monkeypatch):
    """Run the cell that shares; return the artifacts logged and what went to the Hub."""

    def share(offline=False, log_model=False, hub_model_id=""):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "config.json").write_text("{}")
        (tmp_path / "checkpoints").mkdir(exist_ok=True)
        logged, pushed = [], []
        run = types.SimpleNamespace(offline=offline, log_artifact=logged.append, finish=print)
        hub = imports["huggingface_hub"]
        monkeypatch.setattr(hub, "upload_folder", lambda **options: pushed.append(options))
        given = {
            "run": run,
            "run_place": lambda run: "",
            "lock": types.SimpleNamespace(release=print),
            "log_model": log_model,
            "hub_model_id": hub_model_id,
            "results": {"test": {"accuracy": 0.9}},
            "measured": ["accuracy"],
            "record": {"recipe": "abcd"},
            "output_dir": tmp_path,
            "checkpoints": tmp_path / "checkpoints",
            "peak_memory": lambda: 1,
        }
        notebook.run("places", **{**imports, **given})
        return logged, pushed

    return share


def test_nothing_is_shared_by_default(share):
    assert share() == ([], [])


def test_model_goes_to_wandb_where_the_run_is_online(share):
    (artifact,), pushed = share(log_model=True)
    assert artifact.type == "model" and artifact.metadata == {"accuracy": 0.9} and not pushed
    assert "config.json" in artifact.manifest.entries
    assert share(log_model=True, offline=True) == ([], [])


def test_model_goes_to_the_hub(share, tmp_path):
    _, (pushed,) = share(hub_model_id="alice/emotions")
    assert pushed == {"repo_id": "alice/emotions", "folder_path": tmp_path / "model"}


@pytest.mark.parametrize("failure", [OSError("401: no token"), ValueError("no such name")])
def test_hub_that_refuses_is_found_out_before_training(
    notebook, imports, monkeypatch, tmp_path, failure
):
    def refuse(*_, **__):
        raise failure

    monkeypatch.setattr(imports["huggingface_hub"], "create_repo", refuse)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").touch()
    given = {"model_folder": tmp_path, "inputs": {"model_name": "m"}, "hub_model_id": "a/b"}
    with pytest.raises(ValueError, match=f"hub_model_id = a/b: {failure}"):
        notebook.run("check-model", **{**imports, **given})


def test_sweep_searches_parameters_that_there_are(notebook, imports):
    sweep = yaml.safe_load((ROOT / "wandb" / "sweep.yaml").read_text())
    command = " ".join(sweep["command"])
    assert "papermill EmotionClassification.ipynb" in command and "run_name" in command
    assert sweep["metric"]["name"] == "eval/macro_f1", "on validation, never on test"
    values = notebook.run("parameters")
    defaults = {name: values[name] for name in imports["Parameters"].model_fields}
    for name, choices in sweep["parameters"].items():
        for value in choices["values"]:
            imports["Parameters"](**{**defaults, name: value})


def test_sweep_hands_its_choices_to_papermill(tmp_path):
    papermill = tmp_path / "papermill"
    papermill.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    papermill.chmod(0o755)
    *command, last = yaml.safe_load((ROOT / "wandb" / "sweep.yaml").read_text())["command"]
    assert last == "${args_no_hyphens}"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "WANDB_RUN_ID": "ab1"}
    pairs = ["learning_rate=5e-05", "class_weighting=sqrt"]
    options = {"env": environment, "capture_output": True, "text": True, "check": True}
    asked = subprocess.run([*command, *pairs], **options).stdout.split()
    assert asked[:2] == ["EmotionClassification.ipynb", "run-ab1.ipynb"]
    assert asked[2:] == [
        *("-p", "run_name", "sweep-ab1", "-p", "learning_rate", "5e-05"),
        *("-p", "class_weighting", "sqrt"),
    ]
