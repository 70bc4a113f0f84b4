"""An interrupted run goes on where it stopped, and what a former run left stays until the end."""

import contextlib
import filecmp
import json
import os
import random
import subprocess
import sys
import time

import psutil
import pytest
from conftest import NO_HUB, ROOT, clean_environment, outputs, papermill, papermill_command

PARAMETERS = {"num_epochs": 3, "learning_rate": 5e-4}  # those of the fixture sample_run
ENVIRONMENT = {**NO_HUB, "WANDB_MODE": "offline"}


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
    """Once while a checkpoint is written, once while the results are."""
    results, figures = tmp_path / "out" / "sample", tmp_path / "figures" / "sample"
    former = [results / "metrics.json", results / "predictions.csv", results / "model" / "a.json"]
    former += [figures / "calibration.png"]
    for file in former:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("of a former run")
    command = papermill_command(tmp_path, **PARAMETERS)
    for exists in (results / "checkpoints" / "checkpoint-28", results / "part.predictions.csv"):
        kill_when(exists.exists, command, tmp_path)
        assert all(file.read_text() == "of a former run" for file in former)

    finished = papermill(tmp_path, ENVIRONMENT, **PARAMETERS)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "It goes on from" in outputs(finished.notebook)
    undisturbed = sample_run.folder / "out" / "sample"
    for name in ("predictions.csv", "model/model.safetensors"):
        assert filecmp.cmp(results / name, undisturbed / name, shallow=False), name
    assert [file.name for file in (results / "model").glob("a.*")] == []
    record, other = (json.loads((p / "metrics.json").read_text()) for p in (results, undisturbed))
    assert record["test"] == other["test"] and record["train"]["resumed"]
    assert not list(results.glob("part.*")) and not list(results.glob("checkpoints*"))
    runs = [folder.name.split("-")[-1] for folder in (tmp_path / "wandb").glob("offline-run-*")]
    assert len(runs) == 3 and len(set(runs[1:])) == 1


def test_killed_at_random_moments(sample_run, tmp_path):
    """KILLS=20 pytest -k random_moments kills more often; a run that got far ends sooner."""
    generator, kills = random.Random(0), int(os.environ.get("KILLS", "2"))
    undisturbed = sample_run.folder / "out" / "sample"
    seconds = json.loads((undisturbed / "metrics.json").read_text())["seconds"]
    command, results = papermill_command(tmp_path, **PARAMETERS), tmp_path / "out" / "sample"
    record = results / "metrics.json"
    for _ in range(kills):
        end = time.monotonic() + generator.uniform(0.1, 1) * seconds
        kill_when(lambda e=end: time.monotonic() > e or record.exists(), command, tmp_path)
        if record.exists():
            assert filecmp.cmp(*(p / "predictions.csv" for p in (results, undisturbed)), False)
            record.unlink()
    finished = papermill(tmp_path, ENVIRONMENT, **PARAMETERS)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for name in ("predictions.csv", "model/model.safetensors"):
        assert filecmp.cmp(results / name, undisturbed / name, shallow=False), name


@pytest.fixture
def look(notebook, imports, tmp_path):
    """Look for checkpoints in a folder that holds two whole ones and a torn one of seed 1."""
    folder = tmp_path / "checkpoints"
    for step in (9, 10, 11):
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        state = '{"global_step": 9}'[: 9 if step == 11 else None]
        (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (folder / "run.json").write_text(json.dumps({"identity": {"seed": 1}, "wandb_id": "abc"}))

    def look(**replaced):
        cells = notebook.run("checkpoints", **{**imports, **replaced})
        return cells["last_checkpoint"](folder, {"seed": replaced.get("seed", 1)})

    look.folder = folder
    return look


def test_torn_checkpoint_is_skipped_for_the_one_before_it(look, capsys):
    assert look() == (str(look.folder / "checkpoint-10"), "abc")
    assert "checkpoint-11 was not written to its end" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("replaced", "why"), [({"seed": 2}, "another seed"), ({"resume": False}, "resume = False")]
)
def test_checkpoints_of_another_run_are_set_aside(look, capsys, replaced, why):
    assert look(**replaced) == (None, None)
    (aside,) = look.folder.parent.glob("checkpoints-*")
    assert len(list(aside.glob("checkpoint-*"))) == 3 and not look.folder.exists()
    said = capsys.readouterr().out
    assert why in said and str(aside) in said


def test_identity_holds_parameters_data_versions_and_code(notebook):
    """What is compared before a checkpoint is used."""
    source = notebook.cells["begin"].source
    assert "settings = parameters | inputs | environment" in source
    assert "identity = settings | " in source and "notebook_source()" in source


HOLD_LOCK = """
import sys, filelock, time
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("locked", flush=True)
time.sleep(60)
"""


def test_second_run_into_one_folder_is_refused(notebook, imports, tmp_path):
    given = {**imports, "output_dir": tmp_path, "figures_dir": tmp_path}
    command = [sys.executable, "-c", HOLD_LOCK, tmp_path / ".lock"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(RuntimeError, match="output_dir = .*another run is writing there"):
            notebook.run("lock", **given)
        holder.kill()
    first = notebook.run("lock", **given)["lock"]
    assert notebook.run("lock", **given)["lock"] is first, "the cell can be run again"
    first.release(force=True)


def test_failure_while_writing_leaves_the_former_results(notebook, imports, tmp_path):
    def fail(part):
        part.write_text("half")
        raise OSError("No space left on device")

    cells = notebook.run("write", **imports)
    place = tmp_path / "predictions.csv"
    place.write_text("former")
    with pytest.raises(OSError, match="No space"):
        cells["write_beside"](place, fail)
    assert place.read_text() == "former" and not cells["parts"]


def test_folder_takes_the_place_of_a_folder(notebook, imports, tmp_path):
    take_place = notebook.run("write", **imports)["take_place"]
    for name, content in (("model", "old"), ("part.model", "new"), ("former.model", "left over")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(content)
    take_place(tmp_path / "part.model", tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "file").read_text() == "new"
