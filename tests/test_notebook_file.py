"""The notebook as a file: what is committed, how long its cells are, what Colab installs."""

import ast
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tomllib
import types

import pytest
import transformers
from helpers import ROOT


@pytest.fixture(scope="module")
def code(notebook):
    return [cell for cell in notebook.content.cells if cell.cell_type == "code"]


def is_collapsed(cell):
    return cell.metadata.get("jupyter", {}).get("source_hidden", False)


def lines(cells):
    return [len(cell.source.splitlines()) for cell in cells]


def test_committed_without_outputs(notebook, code):
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert "widgets" not in notebook.content.metadata
    assert notebook.content.metadata.kernelspec.name == "python3"


def test_parameters_cell_is_tagged_and_literal(code, setup):
    """papermill needs the tag; a value derived in this cell would go stale when overridden."""
    (cell,) = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    statements = ast.parse(cell.source).body
    assert all(isinstance(s, ast.Assign) and isinstance(s.value, ast.Constant) for s in statements)
    assert {s.targets[0].id for s in statements} == {*setup["fields"]}
    assert all("  # " in line for line in cell.source.splitlines()), "each says what it is"


def test_code_stays_short(notebook, code):
    collapsed = [cell for cell in code if is_collapsed(cell)]
    opened = [cell for cell in code if not is_collapsed(cell) and cell.id != "parameters"]
    before_data = [notebook.cells[id] for id in notebook.between("hosted", "load")]
    assert sum(lines(code)) <= 800 and sum(lines(collapsed)) <= 325
    assert sum(lines(before_data)) <= 137
    assert statistics.median(lines(opened)) <= 6 and max(lines(opened)) <= 15
    training = [notebook.cells[id] for id in notebook.between("trainer", "fit")]
    assert len(training) <= 3 and sum(lines(training)) <= 30


def test_every_open_cell_has_its_reason_before_it(notebook):
    """A paragraph, with at most collapsed cells in between."""
    before = None
    for cell in notebook.content.cells:
        if cell.cell_type == "code" and not is_collapsed(cell) and cell.id != "imports":
            assert before == "markdown", cell.id
        if cell.cell_type == "markdown" or not is_collapsed(cell):
            before = cell.cell_type


def test_plumbing_is_collapsed_in_jupyter_colab_and_pages(code):
    titled = {cell.id for cell in code if cell.source.startswith("# @title")}
    form = {cell.id for cell in code if cell.metadata.get("cellView") == "form"}
    hidden = {cell.id for cell in code if "hide-input" in cell.metadata.get("tags", [])}
    assert titled == form == hidden == {cell.id for cell in code if is_collapsed(cell)} != set()


@pytest.fixture
def hosted(notebook, monkeypatch, tmp_path):
    """Run the cells for Colab and Kaggle with stubs of their modules; return pip's commands."""

    def hosted(get_secret, colab=True):
        commands = []
        monkeypatch.setattr(os, "environ", {} if colab else {"KAGGLE_KERNEL_RUN_TYPE": "Batch"})
        monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
        colab_module = types.SimpleNamespace(userdata=types.SimpleNamespace(get=get_secret))
        client = types.SimpleNamespace(
            UserSecretsClient=lambda: types.SimpleNamespace(get_secret=get_secret)
        )
        for name, module in {"google.colab": colab_module, "kaggle_secrets": client}.items():
            if (name == "google.colab") == colab:
                monkeypatch.setitem(sys.modules, name, module)
        given = {"checkpoint_folder": tmp_path, "transformers": transformers, "wandb": None}
        notebook.run("hosted", "start-run", **given)
        return commands

    return hosted


@pytest.mark.parametrize("colab", [True, False])
def test_hosts_keep_their_packages_and_give_their_key(hosted, colab):
    ((*_, command),) = [hosted(lambda name: "a key", colab)]
    kept = {f"{n}=={importlib.metadata.version(n)}" for n in ("torch", "numpy", "pandas")}
    assert kept <= {*command} and "--upgrade" not in command
    assert os.environ["WANDB_API_KEY"] == "a key"


def test_hosts_without_a_key(hosted, capsys):
    """No such secret, no access to it, or nobody to ask, as in Colab from VS Code."""

    def get_secret(name):
        raise TimeoutError("no browser")

    hosted(get_secret)
    assert "no browser" in capsys.readouterr().out and "WANDB_API_KEY" not in os.environ


def test_hosts_install_what_is_needed(hosted):
    """The oldest versions in the notebook are those that pyproject.toml states."""
    (command,) = hosted(lambda name: "a key")
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    oldest = [spec for spec in command if ">=" in spec]
    assert {*oldest} <= {*groups["notebook"]} and len(oldest) >= 5
