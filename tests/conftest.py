"""How the tests reach the notebook: by the ids of its cells, never by a copy of them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from matplotlib import get_configdir

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "EmotionClassification.ipynb"

# Nothing listens here: the Hub is out of reach at once, as behind a firewall that refuses.
NO_HUB = {"HF_ENDPOINT": "http://127.0.0.1:9"}


# What must not be found in anything that a run leaves, the name of the home folder among them.
SECRETS = {
    "USER": "alice-liddell",
    "LOGNAME": "alice-liddell",
    "HF_TOKEN": "hf_" + "x" * 34,
    "WANDB_API_KEY": "0123456789" * 4,
}
SETUP = ("colab", "imports", "versions", "parameter-bounds", "parameters")
SETUP += ("check-parameters",)
FETCH = ("hub", "fetch-function", "sample", "fetch", "check-model")
LOAD = ("check-data", "read-data", "shape-data", "load")
EMOTIONS = ["sadness", "joy", "love", "anger", "fear", "surprise"]


class Notebook:
    """The committed notebook and its cells by id."""

    def __init__(self, path):
        self.content = nbformat.read(path, as_version=4)
        self.cells = {cell.id: cell for cell in self.content.cells}

    def run(self, *ids, **variables):
        """Execute the cells of these ids, given variables; return what they leave."""
        namespace = {"__name__": "__main__", "In": ["the cells"], **variables}
        namespace.setdefault("display", lambda *_: None)
        for id in ids:
            exec(compile(self.cells[id].source, f"<cell {id}>", "exec"), namespace)
        return namespace


@pytest.fixture(scope="session")
def notebook():
    return Notebook(NOTEBOOK)


@pytest.fixture(scope="session")
def imports(notebook):
    """What the cells up to the checked parameters leave, defaults untouched."""
    return notebook.run(*SETUP)


@pytest.fixture(scope="session")
def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def clean_environment(folder, environment):
    """The environment without W&B's and the Hub's settings, all that they write under folder."""
    clean = {k: v for k, v in os.environ.items() if not re.match("WANDB_|HF_", k)}
    places = {
        "WANDB_DIR": folder,
        "WANDB_DATA_DIR": folder / "wandb-data",
        "HF_HOME": folder / "hf",
    }
    joined = {**clean, **{name: str(place) for name, place in places.items()}, **environment}
    return {name: value for name, value in joined.items() if value}


def papermill_command(folder, **parameters):
    """The command that executes the notebook with all that it writes under folder."""
    parameters = {"output_dir": folder / "out", "figures_dir": folder / "figures", **parameters}
    options = [str(part) for pair in parameters.items() for part in ("-p", *pair)]
    command = [sys.executable, "-m", "papermill", NOTEBOOK, folder / "run.ipynb"]
    return [*command, "--no-progress-bar", *options]


def papermill(folder, environment, **parameters):
    """Execute the notebook headless, as a user does, with all that it writes under folder."""
    command = papermill_command(folder, **parameters)
    environment = clean_environment(folder, environment)
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    finished.notebook = nbformat.read(folder / "run.ipynb", as_version=4)
    return finished


def outputs(notebook):
    """All that the executed notebook shows, as one text."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output for cell in cells for output in cell.outputs]
    return "\n".join(str(output.get("text") or output.get("data")) for output in shown)


SERVE = ROOT.parent / "shared" / "hub" / "serve.py"  # a Hub on loopback, where there is one

LOAD_DATA = """
import sys
sys.path.insert(0, "tests")
from conftest import FETCH, LOAD, NOTEBOOK, SETUP, Notebook
notebook = Notebook(NOTEBOOK)
cells = notebook.run(*SETUP, *FETCH, *LOAD)
print(cells["inputs"])
"""


def load_data(hub, home, **environment):
    """Run the cells that load the data in a process of their own, which prints the inputs."""
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home), **environment}
    options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
    return subprocess.run([sys.executable, "-c", LOAD_DATA], timeout=120, **options)


def wandb_inspect(folder, *options):
    """What `wandb leet inspect --json` prints of the offline record in folder."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *options, folder]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def wandb_summary(folder):
    """State, config and summary of the offline record in folder."""
    return json.loads(wandb_inspect(folder, "--summary"))


def wandb_records(folder, kind):
    """The records of one kind, such as run or artifact, of the offline record in folder."""
    records = map(json.loads, wandb_inspect(folder).splitlines())
    return [record[kind] for record in records if record["type"] == kind]


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory):
    """A headless run on the sample, offline in W&B; the folder that it wrote."""
    folder = tmp_path_factory.mktemp("sample_run")
    environment = {**NO_HUB, "WANDB_MODE": "offline", **SECRETS, "MPLCONFIGDIR": get_configdir()}
    environment |= {"HOME": str(folder / SECRETS["USER"]), "WANDB_DATA_DIR": ""}
    finished = papermill(folder, environment, num_epochs=3, learning_rate=5e-4)
    assert finished.returncode == 0, finished.stderr[-3000:]
    finished.folder = folder
    (finished.wandb_folder,) = (folder / "wandb").glob("offline-run-*")
    return finished


@pytest.fixture(scope="session")
def hub(notebook, imports):
    """The Hub that HF_ENDPOINT names, or a skip where it does not answer."""
    endpoint = imports["huggingface_hub"].constants.ENDPOINT
    if not notebook.run("hub", "fetch-function", **imports)["hub_answers"]():
        pytest.skip(f"the Hub at {endpoint} does not answer")
    return endpoint


@pytest.fixture(scope="session")
def real_data(notebook, imports, hub):
    """What the cells up to the audit leave on the real data."""
    cells = notebook.run(*FETCH, *LOAD, "audit", **imports)
    assert not cells["inputs"]["offline_fallback"]
    return cells
