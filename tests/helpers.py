"""How tests and measuring scripts reach the notebook: through its own cells, never a copy."""

import json
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

# Ids of cells, in the notebook's order.
SETUP = ["colab", "imports", "quiet", "parameters", "parameter-types"]
CHECK = ["check-parameters"]
LOAD = ["fetch", "sources", "load", "check-data", "prepare", "classes"]
AUDIT = ["counts", "provenance", "keep-figure", "contradictions", "leaks", "drop", "subset"]
TOKENS = ["class-weights", "tokenizer", "tokenise"]
MODEL = ["model", "adapters", "apply-adapters"]
TRAINER = ["precision", "trainer-class", "label-metrics", "arguments", "training-arguments"]
TRAINER += ["trainer"]
METRICS = ["label-metrics", "probability-metrics", "intervals"]
TO_TRAINER = [*LOAD, *AUDIT, *TOKENS, *MODEL, *TRAINER]


class Notebook:
    """The committed notebook and its cells by id."""

    def __init__(self):
        self.content = nbformat.read(NOTEBOOK, as_version=4)
        self.cells = {cell.id: cell for cell in self.content.cells}

    def run(self, *ids, **variables):
        """Execute the cells of these ids, given variables; return the namespace they leave."""
        namespace = {"__name__": "__main__", "In": ["the cells"], **variables}
        namespace.setdefault("display", lambda *_: None)
        for id in ids:
            exec(compile(self.cells[id].source, f"<cell {id}>", "exec"), namespace)
        return namespace

    def up_to(self, *ids, **parameters):
        """Execute the setup with parameters replaced, as papermill does, and then these cells."""
        return self.run(*CHECK, *ids, **{**self.run(*SETUP), **parameters})


def clean_environment(folder, environment):
    """Return the environment without W&B's and the Hub's settings, their files below folder."""
    clean = {k: v for k, v in os.environ.items() if not re.match("WANDB_|HF_", k)}
    places = {"WANDB_DIR": folder, "WANDB_DATA_DIR": folder / "data", "HF_HOME": folder / "hf"}
    joined = {**clean, **{name: str(place) for name, place in places.items()}, **environment}
    return {name: value for name, value in joined.items() if value}


def papermill_command(folder, **parameters):
    """Return the command that executes the notebook with everything it writes below folder."""
    parameters = {"output_dir": folder / "out", "figures_dir": folder / "figures", **parameters}
    options = [str(part) for pair in parameters.items() for part in ("-p", *pair)]
    command = [sys.executable, "-m", "papermill", NOTEBOOK, folder / "run.ipynb"]
    return [*command, "--no-progress-bar", *options]


def papermill(folder, environment, *before, **parameters):
    """Execute the notebook headless, as a user does; before: words before the command."""
    finished = subprocess.run(
        [*before, *papermill_command(folder, **parameters)],
        cwd=ROOT,
        env=clean_environment(folder, environment),
        capture_output=True,
        text=True,
    )
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
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def wandb_summary(folder):
    """Return state, config and summary of the offline record in folder."""
    return json.loads(wandb_inspect(folder, "--summary"))
