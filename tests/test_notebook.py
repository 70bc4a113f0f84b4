"""The notebook as a file: what is committed, and that README says the same."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import types

import pytest
from conftest import ROOT


def code_cells(notebook):
    return [cell for cell in notebook.content.cells if cell.cell_type == "code"]


def test_committed_without_outputs(notebook):
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(notebook))
    assert "widgets" not in notebook.content.metadata
    assert notebook.content.metadata.kernelspec.name == "python3"


def test_parameters_cell_is_tagged_and_literal(notebook):
    tagged = [
        cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])
    ]
    assert [cell.id for cell in tagged] == ["parameters"]
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
    assert all("  # " in line for line in tagged[0].source.splitlines()), "a comment each"


def test_every_parameter_is_checked(notebook, imports):
    named = {line.split(" = ")[0] for line in notebook.cells["parameters"].source.splitlines()}
    assert set(imports["Parameters"].model_fields) == named


def test_plumbing_is_collapsed_in_jupyter_and_colab(notebook):
    titled = {cell.id for cell in code_cells(notebook) if cell.source.startswith("# @title")}
    hidden = {
        c.id for c in code_cells(notebook) if c.metadata.get("jupyter", {}).get("source_hidden")
    }
    form = {cell.id for cell in code_cells(notebook) if cell.metadata.get("cellView") == "form"}
    assert titled == hidden == form != set()


def test_size(notebook):
    lines = {cell.id: len(cell.source.splitlines()) for cell in code_cells(notebook)}
    lines.pop("parameters")  # a list, one line a parameter
    assert len(notebook.content.cells) <= 75
    assert max(lines.values()) <= 25


@pytest.fixture
def colab(notebook, monkeypatch):
    """Run Colab's cell with its module faked; return what pip was asked for, and the key left."""

    def run(secret):
        class SecretNotFoundError(Exception):
            pass

        def get(name):
            if secret is None:
                raise SecretNotFoundError
            return secret

        errors = {"SecretNotFoundError": SecretNotFoundError, "NotebookAccessError": KeyError}
        google = types.ModuleType("google.colab")
        google.userdata = types.SimpleNamespace(get=get, **errors)
        monkeypatch.setitem(sys.modules, "google.colab", google)
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        monkeypatch.setattr(os, "environ", dict(os.environ))
        commands = []
        monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
        notebook.run("colab")
        return commands, os.environ.get("WANDB_API_KEY")

    return run


def test_colab_keeps_its_torch_numpy_and_pandas(colab):
    (command,), _ = colab("key")
    kept = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "pandas")}
    assert {f"{name}=={version}" for name, version in kept.items()} <= set(command)
    assert not [part for part in command if part.startswith(("torch>", "numpy>", "pandas>"))]
    assert "--upgrade" not in command and "-U" not in command


def test_colab_takes_the_key_from_its_secrets(colab, capsys):
    assert colab("key")[1] == "key"
    assert colab(None)[1] is None
    assert "no WANDB_API_KEY" in capsys.readouterr().out


def test_colab_is_asked_for_a_gpu(notebook, imports, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    notebook.run("precision", **imports)
    assert "Choose one under Runtime" in capsys.readouterr().out


def test_safetensors_and_no_remote_code(notebook):
    source = "\n".join(cell.source for cell in code_cells(notebook))
    assert "use_safetensors=True" in source
    assert "trust_remote_code" not in source and "import pickle" not in source


def test_readme_parameter_table(notebook, readme):
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \| (.+?) \|$", readme, re.MULTILINE)
    lines = notebook.cells["parameters"].source.splitlines()
    cell = [re.fullmatch(r"(\w+) = (.+?)  # (.+)", line).groups() for line in lines]
    assert rows == cell


def test_readme_commands(notebook, imports, readme):
    main = "pip install -r requirements.txt && papermill EmotionClassification.ipynb run.ipynb"
    tests = "pip install -r requirements.txt && pytest"
    first_screen = [line.strip() for line in readme.splitlines()[:20]]
    assert main in first_screen and tests in first_screen
    title = notebook.cells["title"].source
    assert "papermill EmotionClassification.ipynb run.ipynb" in title
    known = {*imports["Parameters"].model_fields, "NAME"}
    assert set(re.findall(r"-p (\w+) ", title + readme)) <= known
    ci = (ROOT / ".ci" / "run").read_text() + (ROOT / ".github/workflows/ci.yml").read_text()
    assert ci.count("papermill EmotionClassification.ipynb run.ipynb") >= 2


@pytest.mark.parametrize("path", ["README.md", "requirements.txt", "wandb/README.md"])
def test_no_machine_of_ours(path):
    assert not re.search(r"/work/|/root/|/home/|/tmp/", (ROOT / path).read_text(encoding="utf-8"))
