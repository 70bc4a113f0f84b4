"""The notebook as a file: what is committed, how long its cells are, what Colab installs."""

import ast
import importlib.metadata
import statistics
import subprocess
import sys
import tomllib

import pytest
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
    assert sum(lines(code)) <= 800 and sum(lines(collapsed)) <= 335
    assert sum(lines(before_data)) <= 148
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


@pytest.mark.parametrize("host", ["Colab", "Kaggle"])
def test_hosts_keep_their_packages_and_get_what_is_needed(notebook, monkeypatch, host):
    """The oldest versions in the notebook are those that pyproject.toml states."""
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    if host == "Colab":
        monkeypatch.setitem(sys.modules, "google.colab", None)
    else:
        monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    notebook.run("hosted")
    (command,) = commands
    kept = {f"{n}=={importlib.metadata.version(n)}" for n in ("torch", "numpy", "pandas")}
    assert kept <= {*command} and "--upgrade" not in command
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    oldest = [spec for spec in command if ">=" in spec]
    assert {*oldest} <= {*groups["notebook"]} and len(oldest) >= 5
