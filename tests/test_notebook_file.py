"""The notebook as a file: what is committed, how long its cells are, what Colab installs."""

import ast
import importlib.metadata
import os
import statistics
import subprocess
import sys
import types

import pytest


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
    assert {s.targets[0].id for s in statements} == set(setup["Parameters"].model_fields)
    assert all("  # " in line for line in cell.source.splitlines()), "each says what it is"


def test_code_stays_short(notebook, code):
    collapsed = [cell for cell in code if is_collapsed(cell)]
    opened = [cell for cell in code if not is_collapsed(cell) and cell.id != "parameters"]
    assert sum(lines(code)) <= 620 and sum(lines(collapsed)) <= 260
    assert statistics.median(lines(opened)) <= 6 and max(lines(opened)) <= 15
    assert max(lines(collapsed)) <= 25
    before_data = code[: [cell.id for cell in code].index("load") + 1]
    assert sum(lines(before_data)) <= 130
    ids = [cell.id for cell in notebook.content.cells]
    assert ids.index("fit") == ids.index("fit-text") + 1, "nothing between heading and training"


def test_every_open_cell_has_its_reason_before_it(notebook):
    """A paragraph, with at most collapsed cells in between."""
    before = None
    for cell in notebook.content.cells:
        if cell.cell_type == "code" and not is_collapsed(cell) and cell.id != "imports":
            assert before == "markdown", cell.id
        if cell.cell_type == "markdown" or not is_collapsed(cell):
            before = cell.cell_type


def test_plumbing_is_collapsed_in_jupyter_and_colab(code):
    titled = {cell.id for cell in code if cell.source.startswith("# @title")}
    form = {cell.id for cell in code if cell.metadata.get("cellView") == "form"}
    assert titled == form == {cell.id for cell in code if is_collapsed(cell)} != set()


@pytest.mark.parametrize("key", ["a key", None])
def test_colab_keeps_its_packages_and_gives_its_key(notebook, monkeypatch, capsys, key):
    class NoSecret(Exception):
        pass

    def get(name):
        if key is None:
            raise NoSecret
        return key

    commands, errors = [], dict.fromkeys(("SecretNotFoundError", "NotebookAccessError"), NoSecret)
    userdata = types.SimpleNamespace(get=get, **errors)
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(userdata=userdata))
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    notebook.run("colab")
    kept = {f"{n}=={importlib.metadata.version(n)}" for n in ("torch", "numpy", "pandas")}
    assert kept <= {*commands[0]} and "--upgrade" not in commands[0]
    assert os.environ.get("WANDB_API_KEY") == key
    assert ("no WANDB_API_KEY" in capsys.readouterr().out) == (key is None)
