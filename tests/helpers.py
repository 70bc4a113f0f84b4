"""How tests and measuring scripts reach the notebook: through its own cells, never a copy."""

import json
import linecache
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "EmotionClassification.ipynb"
SAMPLE = ROOT / "tests" / "sample"
HUB_SERVER = ROOT.parent / "shared" / "hub" / "serve.py"  # a Hub on loopback, where there is one
WANDB_SERVER = ROOT.parent / "shared" / "wandb" / "serve.py"  # and a W&B server
NO_HUB = {"HF_ENDPOINT": "http://127.0.0.1:9"}  # nothing listens there
MINILM = {
    "model_name": "sentence-transformers/all-MiniLM-L6-v2",
    "model_revision": "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
}
EMOTIONS = ["sadness", "joy", "love", "anger", "fear", "surprise"]


class Notebook:
    """The committed notebook and its code cells by id."""

    def __init__(self):
        self.content = nbformat.read(NOTEBOOK, as_version=4)
        self.cells = {cell.id: cell for cell in self.content.cells if cell.cell_type == "code"}

    def run(self, *ids, **variables):
        """Execute the cells of these ids, given variables; return the namespace they leave."""
        namespace = {"__name__": "__main__", **variables}
        namespace.setdefault("display", lambda *_: None)
        for id in ids:
            source, name = self.cells[id].source, f"<cell {id}>"
            linecache.cache[name] = (len(source), None, source.splitlines(True), name)
            exec(compile(source, name, "exec"), namespace)
        return namespace

    def between(self, first, last, *skipped):
        """Return the ids of the code cells from first to last, except skipped."""
        ids = list(self.cells)
        return [id for id in ids[ids.index(first) : ids.index(last) + 1] if id not in skipped]

    def up_to(self, last, *skipped, **parameters):
        """Execute all cells up to last with parameters replaced, as papermill does."""
        ids = self.between("hosted", last, *skipped)
        cut = ids.index("parameters") + 1
        return self.run(*ids[cut:], **{**self.run(*ids[:cut]), **parameters})


def clean_environment(folder, environment):
    """Return the environment without settings of W&B, Hub and pytest, their files below folder."""
    clean = {k: v for k, v in os.environ.items() if not re.match("WANDB_|HF_|PYTEST_", k)}
    places = {"WANDB_DIR": folder, "WANDB_DATA_DIR": folder / "data", "HF_HOME": folder / "hf"}
    joined = {**clean, **{name: str(place) for name, place in places.items()}, **environment}
    return {name: value for name, value in joined.items() if value}


def papermill_command(folder, **parameters):
    """Return the command that executes the notebook with everything it writes below folder."""
    parameters = {"output_dir": folder / "out", **parameters}
    options = [str(part) for pair in parameters.items() for part in ("-p", *pair)]
    command = [sys.executable, "-m", "papermill", NOTEBOOK, folder / "run.ipynb"]
    return [*command, "--no-progress-bar", *options]


def execute(command, environment, cwd=ROOT, given=None):
    """Execute a command to its end, given a text to read; return the process with its output."""
    options = {"cwd": cwd, "env": environment, "capture_output": True, "encoding": "utf-8"}
    finished = subprocess.run(command, input=given, **options)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished


def papermill(folder, environment, *before, **parameters):
    """Execute the notebook headless, as a user does; before: words before the command."""
    command = [*before, *papermill_command(folder, **parameters)]
    finished = execute(command, clean_environment(folder, environment))
    finished.notebook = nbformat.read(folder / "run.ipynb", as_version=4)
    return finished


def outputs(notebook):
    """Return everything that an executed notebook shows, as one text."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output for cell in cells for output in cell.outputs]
    return "\n".join(str(output.get("text") or output.get("data")) for output in shown)


def wandb_inspect(folder, *options):
    """Return what `wandb leet inspect --json` prints of the offline record in folder."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, folder]
    return execute(command, os.environ).stdout


def wandb_summary(folder):
    """Return state, config and summary of the offline record in folder."""
    return json.loads(wandb_inspect(folder, "--summary"))
