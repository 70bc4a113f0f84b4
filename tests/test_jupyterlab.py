"""The notebook as a person runs it: all cells in JupyterLab, in a real browser, on the sample."""

import contextlib
import filecmp
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from helpers import NO_HUB, NOTEBOOK, SAMPLE, clean_environment
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
FLAGS += ["--disable-component-update", "--disable-sync"]
ALL_RENDERED = {"windowingMode": "none"}  # cells out of sight too


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on a copy of the notebook beside the sample."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.write(notebook, tmp_path / NOTEBOOK.name)
    shutil.copytree(SAMPLE, tmp_path / "tests" / "sample")
    settings = tmp_path / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps(ALL_RENDERED))
    places = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    places |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"), "WANDB_MODE": "offline"}
    environment = clean_environment(tmp_path, {**NO_HUB, **places})
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    command += ["--expose-app-in-browser", "--IdentityProvider.token=", "--ServerApp.port=0"]
    with (tmp_path / "lab.log").open("w") as log:
        options = {"cwd": tmp_path, "env": environment, "stdout": log, "stderr": log}
        server = subprocess.Popen(command, **options)
        try:
            yield tmp_path, address(tmp_path / "lab.log", server)
        finally:
            server.terminate()
            server.wait()


def address(log, server):
    """Wait until the server answers; return its address."""
    while server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(found[0] + "/api")
                return found[0]
        time.sleep(0.2)
    pytest.fail(log.read_text())


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium to open JupyterLab in")
def test_all_cells_in_jupyterlab(lab, sample_run):
    folder, url = lab
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 1500})
        page.goto(f"{url}/lab/tree/{NOTEBOOK.name}?reset", timeout=60_000)
        kernel = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
        page.wait_for_function(f"{kernel}?.status === 'idle'", timeout=60_000)
        page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_selector("th:has-text('recipe')", timeout=240_000)  # the last cell's table
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
        errors = page.locator("[data-mime-type='application/vnd.jupyter.error']")
        assert errors.count() == 0, errors.all_inner_texts()
        chatter = page.locator("[data-mime-type='application/vnd.jupyter.stderr']")
        assert chatter.all_inner_texts() == []
        drawn = page.locator(".jp-Notebook img")
        widths = drawn.evaluate_all("images => images.map(image => image.naturalWidth)")
        assert len(widths) == 3 and min(widths) > 300
        browser.close()
    ours, papermills = (
        folder / "outputs/sample/predictions.csv",
        sample_run.results / "predictions.csv",
    )
    assert filecmp.cmp(ours, papermills, shallow=False), "byte for byte"
