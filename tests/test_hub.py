"""With the Hub, where it answers: the real data, the cache, and what the prose says of them."""

import os
import subprocess
import sys

import pytest
from conftest import EMOTIONS, LOAD_DATA, NO_HUB, ROOT, SERVE, load_data

pytestmark = pytest.mark.hub

FINGERPRINT = "8a5cf3a491490f3045a2725c1ab44220b1a5e09a1a83047b86520fa3b11641fe"


def test_real_data(real_data):
    rows = {split: len(part) for split, part in real_data["dataset"].items()}
    assert rows == {"train": 16000 - 76, "validation": 2000, "test": 2000}
    assert real_data["class_names"] == EMOTIONS
    assert real_data["inputs"]["dataset_revision"] == real_data["dataset_revision"]
    assert real_data["inputs"]["dataset_fingerprint"] == FINGERPRINT


def test_audit(real_data):
    """The leak that the notebook speaks of: every shared text has another label in train."""
    rows = real_data["rows"]
    assert rows["texts that stand more than once in train"] == 31
    assert rows["texts with two labels in train"] == 30
    assert rows["validation texts that also stand in train"] == 5
    assert rows["validation texts in train with another label"] == 5
    assert rows["test texts that also stand in train"] == 11
    assert rows["test texts in train with another label"] == 11
    assert rows["train texts dropped"] == 76


def test_prose_on_the_data(real_data):
    """Lower case without punctuation; the largest class many times the smallest."""
    texts = real_data["frames"]["train"]["text"]
    assert texts.str.fullmatch(r"[a-z ]+").mean() > 0.99
    counts = real_data["frames"]["train"]["emotion"].value_counts()
    assert counts.max() / counts.min() > 9


def test_cached(hub, tmp_path):
    online = load_data(hub, tmp_path)
    assert online.returncode == 0, online.stderr[-2000:]
    assert FINGERPRINT in online.stdout
    assert load_data(hub, tmp_path, HF_HUB_OFFLINE="1").stdout == online.stdout
    assert load_data(NO_HUB["HF_ENDPOINT"], tmp_path).stdout == online.stdout


def test_hub_gone_after_the_data(hub, tmp_path, imports):
    """The data set is cached, the weights are not: the sample as a whole, never a mixture."""
    pinned = {"revision": imports["dataset_revision"], "cache_dir": tmp_path / "hub"}
    imports["huggingface_hub"].snapshot_download("dair-ai/emotion", repo_type="dataset", **pinned)
    loaded = load_data(NO_HUB["HF_ENDPOINT"], tmp_path)
    assert "'offline_fallback': True" in loaded.stdout
    assert "'dataset_name': 'tests/sample'" in loaded.stdout and FINGERPRINT not in loaded.stdout


@pytest.mark.parametrize("every", [2, 3])
def test_hub_that_refuses_requests(tmp_path, every):
    if not SERVE.exists():
        pytest.skip("there is no Hub on loopback to make flaky")
    flaky = {"HUB_FAIL": str(every), "HUB_HOME": str(tmp_path), "HUB_LOG": str(tmp_path / "log")}
    command = [sys.executable, SERVE, "--", sys.executable, "-c", LOAD_DATA]
    options = {"cwd": ROOT, "env": {**os.environ, **flaky}, "capture_output": True, "text": True}
    loaded = subprocess.run(command, **options)
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    assert FINGERPRINT in loaded.stdout and "'offline_fallback': False" in loaded.stdout
