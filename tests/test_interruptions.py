"""An interrupted run goes on where it stopped; runs keep out of each other's way."""

import contextlib
import filecmp
import json
import re
import subprocess
import time

import filelock
import psutil
import pytest
import transformers
from helpers import (
    NO_HUB,
    ROOT,
    clean_environment,
    outputs,
    papermill,
    papermill_command,
    wandb_inspect,
)

PARAMETERS = {"num_epochs": 3, "learning_rate": 5e-4}  # those of the fixture sample_run
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


def test_killed_twice_ends_with_the_same_predictions(sample_run, tmp_path):
    """Once after the second checkpoint, once while the results are written."""
    results, figures = tmp_path / "out" / "sample", tmp_path / "figures" / "sample"
    former = [results / "metrics.json", results / "predictions.csv", results / "model" / "a.json"]
    former += [figures / "calibration.png"]
    for file in former:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("of a former run")
    command = papermill_command(tmp_path, **PARAMETERS)
    second = lambda: list(results.glob("checkpoints/*/checkpoint-28"))  # noqa: E731
    for moment in (second, (results / "unfinished" / "model").exists):
        kill_when(moment, command, tmp_path)
        assert all(file.read_text() == "of a former run" for file in former)

    finished = papermill(tmp_path, ENVIRONMENT, **PARAMETERS)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "It continues from" in outputs(finished.notebook)
    for name in RESULTS:
        assert filecmp.cmp(results / name, sample_run.results / name, shallow=False), name
    ours, other = (
        json.loads((p / "metrics.json").read_text()) for p in (results, sample_run.results)
    )
    assert ours["test"] == other["test"] and ours["resumed"] and not other["resumed"]
    assert sorted(file.name for file in results.iterdir()) == sorted(
        file.name for file in sample_run.results.iterdir()
    ), "nothing left over, nothing of the former model"
    assert not list(results.glob("checkpoints/*"))
    records = sorted((tmp_path / "wandb").glob("offline-run-*"))
    runs = [folder.name.split("-")[-1] for folder in records]
    assert len(runs) == 3 and len(set(runs)) == 1, "one W&B run"
    steps = re.findall(r'"train/global_step":(\d+)', wandb_inspect(records[-1]))
    assert min(map(int, steps)) > 28, "nothing is trained twice"


@pytest.fixture
def plumbing(notebook, setup, tmp_path):
    """Run the cells between the trainer and W&B, with a stand-in for trainer and model."""

    def run(*cells, **changes):
        class Model:
            def num_parameters(self):
                return changes.pop("size", 10)

        class Trainer:
            args = transformers.TrainingArguments(tmp_path, use_cpu=True)

        given = {"precision": "fp32", "sources": {"dataset_sha256": "a"}, "is_sample": False}
        given |= {"model": Model(), "trainer": Trainer(), "training_arguments": Trainer.args}
        given |= {name: __import__(name) for name in ("torch", "hashlib")}
        return notebook.run(*cells, **setup | given | {"output_dir": str(tmp_path)} | changes)

    return run


IDENTITY = ("environment", "identity")


def test_torn_checkpoint_is_removed_for_the_one_before_it(plumbing, tmp_path):
    folder = tmp_path / "checkpoints" / plumbing(*IDENTITY)["run_hash"]
    state = json.dumps({"log_history": [{"loss": 1}]}, indent=2) + "\n"
    for step, text in {9: state, 10: state, 11: state[:-2], 12: None}.items():
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        if text:
            (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(text)
    cells = plumbing(*IDENTITY, "folders", "checkpoints")
    assert cells["last_checkpoint"] == str(folder / "checkpoint-10")
    assert {path.name for path in folder.glob("checkpoint-*")} == {"checkpoint-9", "checkpoint-10"}
    assert plumbing(*IDENTITY, "folders", "checkpoints")["id_file"].read_text() == (
        cells["id_file"].read_text()
    ), "the same W&B run"


def test_another_run_has_another_folder(plumbing, setup):
    """Other parameters, data, weights, versions or code: other checkpoints. Paths do not count."""
    base = plumbing(*IDENTITY)
    parameters = setup["parameters"]
    others = [
        {"parameters": parameters | {"learning_rate": 1e-4}},
        {"parameters": parameters | {"seed": 43}},
        {"sources": {"dataset_sha256": "b"}},
        {"sources": {"dataset_sha256": "a", "weights_sha256": ["c"]}},
        {"version": lambda package: "0.1" if package == "peft" else setup["version"](package)},
        {"In": ["other code"]},
    ]
    hashes = [plumbing(*IDENTITY, **change)["run_hash"] for change in others]
    assert len({base["run_hash"], *hashes}) == 7
    same = plumbing(*IDENTITY, parameters=parameters | {"output_dir": "elsewhere"})
    assert same["run_hash"] == base["run_hash"]
    seed = plumbing(*IDENTITY, **others[1])
    assert seed["recipe_hash"] == base["recipe_hash"], "a recipe has several seeds"


def test_processes_share_a_step_s_texts(plumbing):
    with pytest.raises(ValueError, match="train_batch_size = 32: no multiple of 3"):
        plumbing(*IDENTITY, processes=3)


def test_second_run_into_one_folder_is_refused(plumbing, tmp_path):
    path = tmp_path / ".lock"
    with filelock.FileLock(path), pytest.raises(filelock.Timeout, match=str(path)):
        plumbing(*IDENTITY, "folders")
    first = plumbing(*IDENTITY, "folders")["lock"]
    assert plumbing(*IDENTITY, "folders")["lock"] is first, "the cell can be run again"
    first.release(force=True)


def test_no_room_for_checkpoints(plumbing):
    """Found out before training: three checkpoints with AdamW's two moments, and the model."""
    with pytest.raises(OSError, match="output_dir = .* GB free, .* needed"):
        plumbing(*IDENTITY, "folders", size=10**15)


@pytest.mark.slow
def test_thirty_epochs_do_not_grow(tmp_path):
    """Memory does not creep, checkpoints do not pile up."""
    parameters = {"num_epochs": 30, "early_stopping_patience": 30, "max_train_samples": 64}
    command = papermill_command(tmp_path, **parameters, learning_rate=5e-4)
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
    assert max(memory[29]) < 1.05 * max(memory[3])
