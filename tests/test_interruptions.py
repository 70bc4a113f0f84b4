"""An interrupted run goes on where it stopped; runs keep out of each other's way."""

import contextlib
import filecmp
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import filelock
import nbclient
import nbformat
import psutil
import pytest
from helpers import (
    NO_HUB,
    NOTEBOOK,
    ROOT,
    WANDB_SERVER,
    clean_environment,
    execute,
    outputs,
    papermill,
    papermill_command,
    wandb_inspect,
)

ENVIRONMENT = {**NO_HUB, "WANDB_MODE": "offline"}
RESULTS = ("predictions.csv", "model/model.safetensors")


def kill_when(moment, command, folder):
    """Start a command, and kill it and all that it started once moment() is true."""
    environment = clean_environment(folder, ENVIRONMENT)
    started = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    while not moment():
        assert started.poll() is None, "it ended before"
        time.sleep(0.01)
    for process in [*psutil.Process(started.pid).children(recursive=True), started]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    started.wait()


def check_same_results(results, sample_run):
    for name in RESULTS:
        assert filecmp.cmp(results / name, sample_run.results / name, shallow=False), name
    ours, others = (
        json.loads((p / "metrics.json").read_text()) for p in (results, sample_run.results)
    )
    assert ours["test"] == others["test"] and ours["resumed"] and not others["resumed"]
    assert not list(results.glob("checkpoints/*"))


@pytest.mark.slow
def test_killed_twice_ends_with_the_same_predictions(sample_run, tmp_path):
    """Once after the second checkpoint, once between the saved model and the metrics."""
    results = tmp_path / "out" / "sample"
    former = [results / name for name in ("metrics.json", "predictions.csv", "model/config.json")]
    for file in [results / ".lock", *former]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("of a former run")
    command = papermill_command(tmp_path)
    whole = "checkpoints/*/checkpoint-28/trainer_state.json"

    def flushed():
        """Two seconds later W&B's log has what was measured before."""
        return any(time.time() > file.stat().st_mtime + 2 for file in results.glob(whole))

    kill_when(flushed, command, tmp_path)
    assert all(file.read_text() == "of a former run" for file in former)
    kill_when((results / "model" / "tokenizer.json").exists, command, tmp_path)
    assert not (results / "metrics.json").exists(), "no metrics of another model beside this one"

    finished = papermill(tmp_path, ENVIRONMENT)
    assert "It continues from" in outputs(finished.notebook)
    check_same_results(results, sample_run)
    assert sorted(file.name for file in results.iterdir()) == sorted(
        file.name for file in sample_run.results.iterdir()
    ), "nothing left over"
    records = sorted((tmp_path / "wandb").glob("offline-run-*"))
    runs = [folder.name.split("-")[-1] for folder in records]
    assert len(runs) == 3 and len(set(runs)) == 1, "one W&B run"
    steps = re.findall(r'"train/global_step":(\d+)', wandb_inspect(records[-1]))
    assert min(map(int, steps)) >= 28, "nothing is trained twice"
    if WANDB_SERVER.exists():  # and it arrives whole, uploaded as the notebook says
        (upload,) = re.findall("upload it: (.*)", outputs(finished.notebook))
        environment = clean_environment(tmp_path, {"WANDB_RECORD": str(tmp_path / "received.json")})
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        execute([sys.executable, WANDB_SERVER, "--", "bash", "-c", upload], environment)
        (run,) = json.loads((tmp_path / "received.json").read_text())["runs"]
        assert run["state"] == "finished" and "test/accuracy" in run["summary"]
        assert len([row for row in run["history"] if "eval/loss" in row]) == 3


@pytest.mark.slow
def test_interrupted_and_run_again_in_one_kernel(sample_run, tmp_path, monkeypatch):
    """Interrupt, a scratch cell, Run All: it continues."""
    for name, value in clean_environment(tmp_path, ENVIRONMENT).items():
        monkeypatch.setenv(name, value)
    content = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [cell for cell in content.cells if cell.id == "parameters"]
    parameters.source = parameters.source.replace('"outputs"', repr(str(tmp_path / "out")))
    client = nbclient.NotebookClient(content, resources={"metadata": {"path": ROOT}})
    ids, results = [cell.id for cell in content.cells], tmp_path / "out" / "sample"

    def interrupt():
        while not list(results.glob("checkpoints/*/checkpoint-14/trainer_state.json")):
            time.sleep(0.02)
        client.km.provisioner.process.send_signal(signal.SIGINT)

    with client.setup_kernel():
        for index in range(ids.index("fit")):
            client.execute_cell(content.cells[index], index)
        threading.Thread(target=interrupt).start()
        with pytest.raises(nbclient.exceptions.CellExecutionError, match="KeyboardInterrupt"):
            client.execute_cell(content.cells[ids.index("fit")], ids.index("fit"))
        scratch = nbformat.v4.new_code_cell("scratch = trainer.state.epoch")
        client.execute_cell(scratch, 0)
        for index, cell in enumerate(content.cells):
            client.execute_cell(cell, index)
        assert "It continues from" in outputs(content)
        check_same_results(results, sample_run)
        with filelock.FileLock(results / ".lock", timeout=0):
            pass  # it is free


@pytest.fixture(scope="module")
def before_training(notebook, minilm_folder):
    """Run the cells between the arguments and W&B, and more, with changes."""
    given = {"dataset_name": str(ROOT / "tests" / "sample"), "model_name": str(minilm_folder)}
    cells = notebook.up_to("schedule", "logits", **given)

    def run(folder, *more, **changes):
        changed = {**cells, "output_dir": str(folder), **changes}
        return notebook.run("recipe", "folders", *more, **changed)

    run.cells = cells
    return run


def test_continues_from_the_last_whole_checkpoint(before_training, tmp_path):
    """The Trainer writes a checkpoint's trainer_state.json last."""
    asked = []
    trainer = types.SimpleNamespace(train=lambda **options: asked.append(options))
    folder = before_training(tmp_path, "fit", trainer=trainer)["checkpoint_folder"]
    for step in (9, 10, 11):
        (folder / f"checkpoint-{step}").mkdir()
        if step < 11:
            (folder / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    before_training(tmp_path, "fit", trainer=trainer)
    checkpoints = [None, str(folder / "checkpoint-10")]
    assert asked == [{"resume_from_checkpoint": checkpoint} for checkpoint in checkpoints]


def test_another_run_has_another_folder(before_training, notebook, tmp_path):
    """Other arguments, data, weights, versions or loss: other checkpoints. Not a scratch cell."""
    cells, base = before_training.cells, before_training(tmp_path)
    parameters, recipe = cells["parameters"], base["recipe_hash"]

    def edited_loss(old, new):
        namespace = {**cells}
        exec(notebook.cells["weighted-loss"].source.replace(old, new), namespace)
        return namespace["weighted_loss"]

    (tmp_path / "other.safetensors").write_bytes(b"other weights")
    others = [
        {"learning_rate": 1e-4},
        {"parameters": {**parameters, "max_train_samples": 9}},
        {"sources": {**cells["sources"], "dataset_sha256": "another"}},
        {"model_folder": tmp_path},
        {"class_weights": cells["balanced"]},
        {"version": lambda package: "0.1" if package == "peft" else cells["version"](package)},
        {"weighted_loss": edited_loss("total / num", "2 * total / num")},
        {"weighted_loss": edited_loss("(class_weights", "(balanced")},
    ]
    recipes = [before_training(tmp_path, **change)["recipe_hash"] for change in others]
    assert len({recipe, *recipes}) == 1 + len(others)
    same = {**parameters, "log_texts": 1, "run_name": "x"}
    same = before_training(tmp_path, parameters=same, run_name="x", scratch=1)
    assert same["recipe_hash"] == recipe
    seed = before_training(tmp_path, parameters={**parameters, "seed": 43}, seed=43)
    assert seed["recipe_hash"] == recipe, "a recipe has several seeds"
    assert seed["checkpoint_folder"] != base["checkpoint_folder"]


def test_second_run_into_one_folder_is_refused(before_training, tmp_path):
    path = tmp_path / ".lock"
    refused = f"output_dir = .*{re.escape(str(path))}"
    with filelock.FileLock(path), pytest.raises(OSError, match=refused):
        before_training(tmp_path)
    first = before_training(tmp_path)["lock"]
    assert before_training(tmp_path)["lock"] is first, "the cell can be run again"
    first.release()
    with filelock.FileLock(path, timeout=0):
        pass  # one release is enough


def test_foreign_results_are_left_alone(before_training, tmp_path):
    """Refused before training, also when tried again. A run's own results are replaced."""
    for name in ("model/notes.txt", "predictions.csv", "metrics.json", "figures/mine.png"):
        folder = tmp_path / name.replace("/", "-")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("mine")
        for _ in range(2):
            with pytest.raises(FileExistsError, match="output_dir = "):
                before_training(folder)
        assert [path for path in folder.rglob("*") if path.is_file()] == [folder / name]
        assert (folder / name).read_text() == "mine"
    before_training(tmp_path / "own")["lock"].release()
    (tmp_path / "own" / "predictions.csv").write_text("of a run")
    before_training(tmp_path / "own")
    with pytest.raises(ValueError, match="output_dir = .* its own data"):
        before_training(tmp_path / "own", data_path=tmp_path / "own" / "predictions.csv")


@pytest.mark.slow
def test_thirty_epochs_do_not_grow(tmp_path):
    """Memory does not creep, checkpoints do not pile up."""
    parameters = {"num_epochs": 30, "max_train_samples": 60}
    command = papermill_command(tmp_path, **parameters)
    environment = clean_environment(tmp_path, {**NO_HUB, "WANDB_MODE": "disabled"})
    started = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    memory, kept = {}, []
    while started.poll() is None:
        found = (tmp_path / "out" / "sample").glob("checkpoints/*/checkpoint-*")
        epochs = [int(path.name.split("-")[1]) // 2 for path in found]  # two steps an epoch
        kernels = psutil.Process(started.pid).children()
        if epochs and kernels:
            kept.append(len(epochs))
            memory.setdefault(max(epochs), []).append(kernels[0].memory_info().rss)
        time.sleep(0.1)
    assert started.returncode == 0
    assert max(memory) == 30 and max(kept) <= 3, "the best, the last and the one being written"
    assert statistics.median(memory[29]) < 1.05 * statistics.median(memory[3])
