"""An interrupted run goes on where it stopped; runs keep out of each other's way."""

import contextlib
import filecmp
import json
import re
import signal
import statistics
import subprocess
import threading
import time

import filelock
import nbclient
import nbformat
import psutil
import pytest
from helpers import (
    NO_HUB,
    NOTEBOOK,
    ROOT,
    clean_environment,
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


def test_killed_twice_ends_with_the_same_predictions(sample_run, tmp_path):
    """Once after the second checkpoint, once between the saved model and the metrics."""
    results, figures = tmp_path / "out" / "sample", tmp_path / "figures" / "sample"
    former = [results / "metrics.json", results / "predictions.csv", results / "model" / "a.json"]
    former += [figures / "calibration.png"]
    for file in former:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("of a former run")
    command = papermill_command(tmp_path)
    kill_when(lambda: list(results.glob("checkpoints/*/checkpoint-28")), command, tmp_path)
    assert all(file.read_text() == "of a former run" for file in former)
    kill_when((results / "model" / "config.json").exists, command, tmp_path)
    assert not (results / "metrics.json").exists(), "no metrics of another model beside this one"

    finished = papermill(tmp_path, ENVIRONMENT)
    assert "It continues from" in outputs(finished.notebook)
    check_same_results(results, sample_run)
    assert sorted(file.name for file in results.iterdir()) == sorted(
        file.name for file in sample_run.results.iterdir()
    ), "nothing left over, nothing of the former model"
    records = sorted((tmp_path / "wandb").glob("offline-run-*"))
    runs = [folder.name.split("-")[-1] for folder in records]
    assert len(runs) == 3 and len(set(runs)) == 1, "one W&B run"
    steps = re.findall(r'"train/global_step":(\d+)', wandb_inspect(records[-1]))
    assert min(map(int, steps)) >= 28, "nothing is trained twice"


@pytest.mark.slow
def test_interrupted_and_run_again_in_one_kernel(sample_run, tmp_path, monkeypatch):
    """Interrupt, a scratch cell, Run All: it continues. Training again afterwards is refused."""
    for name, value in clean_environment(tmp_path, ENVIRONMENT).items():
        monkeypatch.setenv(name, value)
    content = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = [cell for cell in content.cells if cell.id == "parameters"]
    for name in ("out", "figures"):
        default = {"out": "outputs", "figures": "figures"}[name]
        parameters.source = parameters.source.replace(f'"{default}"', f'"{tmp_path / name}"')
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
        with pytest.raises(nbclient.exceptions.CellExecutionError, match="this run has ended"):
            client.execute_cell(content.cells[ids.index("fit")], ids.index("fit"))


@pytest.fixture(scope="module")
def before_training(notebook, minilm_folder):
    """Run the cells between the arguments and W&B with changes, without a real model."""
    given = {"dataset_name": str(ROOT / "tests" / "sample"), "model_name": str(minilm_folder)}
    skipped = ("distribution", "lengths-plot", "longest", "logits")
    cells = notebook.up_to("trainer-class", *skipped, **given)

    def run(folder, **changes):
        changed = {**cells, "output_dir": str(folder), **changes}
        return notebook.run("recipe", "environment", "folders", **changed)

    run.cells = cells
    return run


def test_torn_checkpoint_is_removed_for_the_one_before_it(before_training, tmp_path):
    cells = before_training(tmp_path)
    folder, state = cells["checkpoint_folder"], json.dumps({"log_history": []}, indent=2) + "\n"
    for step, text in {9: state, 10: state, 11: state[:-2], 12: None}.items():
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        if text:
            (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(text)
    cells["training_arguments"] = before_training.cells["transformers"].TrainingArguments(
        str(folder), use_cpu=True
    )
    assert cells["last_checkpoint"]() == str(folder / "checkpoint-10")
    assert {path.name for path in folder.glob("checkpoint-*")} == {"checkpoint-9", "checkpoint-10"}
    cells["lock"].release(force=True)


def test_another_run_has_another_folder(before_training, notebook, tmp_path):
    """Other arguments, data, weights, versions or loss: other checkpoints. Not a scratch cell."""
    cells, base = before_training.cells, before_training(tmp_path)
    fewer = {**cells["tokenised"], "train": cells["tokenised"]["train"].select(range(9))}
    edited = notebook.cells["weighted-loss"].source.replace("total / num", "2 * total / num")
    namespace = notebook.run("weighted-loss", **cells)
    others = [
        {"learning_rate": 1e-4},
        {"seed": 43},
        {"tokenised": fewer},
        {"class_weights": cells["balanced"]},
        {"version": lambda package: "0.1" if package == "peft" else cells["version"](package)},
        {"weight_files": []},
    ]
    hashes = {before_training(tmp_path, **change)["run_hash"] for change in others}
    notebook.cells["edited-loss"] = type(notebook.cells["weighted-loss"])(source=edited)
    loss = notebook.run("edited-loss", **namespace)["weighted_loss"]
    del notebook.cells["edited-loss"]
    edited = before_training(tmp_path, weighted_loss=loss)
    assert len({base["run_hash"], edited["run_hash"], *hashes}) == 8
    assert edited["recipe_hash"] != base["recipe_hash"], "a column of its own among the runs"
    same = before_training(tmp_path / "b", In=["scratch"], log_texts=1, run_name="x")
    assert same["run_hash"] == base["run_hash"]
    seed = before_training(tmp_path, seed=43)
    assert seed["recipe_hash"] == base["recipe_hash"], "a recipe has several seeds"
    seed["lock"].release(force=True), same["lock"].release(force=True)


def test_processes_share_a_step_s_texts(before_training, tmp_path):
    with pytest.raises(ValueError, match="train_batch_size = 32: no multiple of 3"):
        before_training(tmp_path, processes=3)


def test_second_run_into_one_folder_is_refused(before_training, tmp_path):
    path = tmp_path / ".lock"
    with filelock.FileLock(path), pytest.raises(filelock.Timeout, match=re.escape(str(path))):
        before_training(tmp_path)
    first = before_training(tmp_path)["lock"]
    assert before_training(tmp_path)["lock"] is first, "the cell can be run again"
    first.release()
    with filelock.FileLock(path, timeout=0):
        pass  # one release is enough


def test_no_room_for_checkpoints(before_training, tmp_path):
    """Found out before training: three checkpoints with AdamW's two moments, and the model."""
    with pytest.raises(OSError, match="output_dir = .* GB free, .* needed"):
        before_training(tmp_path, trained=10**15)


@pytest.mark.slow
def test_thirty_epochs_do_not_grow(tmp_path):
    """Memory does not creep, checkpoints do not pile up."""
    parameters = {"num_epochs": 30, "early_stopping_patience": 30, "max_train_samples": 64}
    command = papermill_command(tmp_path, **parameters)
    environment = clean_environment(tmp_path, ENVIRONMENT)
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
