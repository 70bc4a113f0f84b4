"""The Hub: the real data, the cache, and a Hub that is gone, silent, busy or asked for nonsense."""

import os
import socket
import subprocess
import sys
from fnmatch import fnmatch

import pandas as pd
import pytest
from helpers import EMOTIONS, HUB_SERVER, MINILM, NO_HUB, ROOT, SAMPLE, Notebook

DATASET_SHA256 = "afa1aadf4890e90ec85f40c5e759e27dd22c578f89a81a09568f2aae52aeedb4"


def main():
    """Load the data and print its sources; executed in processes of its own below."""
    cells = Notebook().up_to("classes")
    print(cells["sources"], "is_sample:", cells["is_sample"])


def load_data(home, *before, **environment):
    """Run main in a process whose Hub cache is below home."""
    command = [*before, sys.executable, __file__]
    environment = {**os.environ, "HF_HOME": str(home), **environment}
    options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
    return subprocess.run(command, timeout=240, **options)


def test_real_data(real_data):
    """The published counts, less the rows that the audit drops, and the hash of all texts."""
    counts = real_data["counts"].loc[EMOTIONS]
    assert counts["train"].tolist() == [4666, 5362, 1304, 2159, 1937, 572]
    assert counts[["validation", "test"]].sum().tolist() == [2000, 2000]
    assert len(real_data["splits"]["train"]) == 16000 - 76
    assert real_data["sources"]["dataset_sha256"] == DATASET_SHA256
    pinned = {real_data["sources"][f"{kind}_revision"] for kind in ("dataset", "model")}
    assert pinned == {*real_data["pinned"].values()}


def test_prose_on_the_data(real_data):
    """Lower case, nearly no punctuation; one class nine times as frequent as another; the leaks."""
    texts = pd.concat(real_data["splits"].values())["text"]
    assert texts.str.fullmatch(r"[a-z ]+").mean() > 0.99
    assert round(real_data["counts"]["train"].max() / real_data["counts"]["train"].min()) == 9
    assert real_data["contradicting"].sum() == 60
    train = real_data["texts"].loc["train"]
    for name, shared in (("validation", 5), ("test", 11)):
        both = real_data["splits"][name].merge(train, on="text")
        assert both["text"].nunique() == shared and (both["label_x"] != both["label_y"]).all()


def test_cached(real_data, tmp_path):
    online = load_data(tmp_path)
    assert DATASET_SHA256 in online.stdout, online.stderr[-2000:]
    for offline in ({"HF_HUB_OFFLINE": "1"}, NO_HUB):
        assert load_data(tmp_path, **offline).stdout.endswith(online.stdout)


def test_hub_gone_after_the_data(real_data, tmp_path):
    """The data set is cached, the weights are not: never a mixture with the sample."""
    from huggingface_hub import snapshot_download

    pinned = {"revision": real_data["data_path"].name, "cache_dir": tmp_path / "hub"}
    snapshot_download("dair-ai/emotion", repo_type="dataset", **pinned)
    loaded = load_data(tmp_path, **NO_HUB)
    assert loaded.returncode and "ConnectionError: model_name = 'distilbert/" in loaded.stderr
    assert "is_sample" not in loaded.stdout


def test_hub_that_never_answers(tmp_path):
    """Behind a firewall that drops what it is sent: the sample."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        loaded = load_data(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "is_sample: True" in loaded.stdout, loaded.stderr[-2000:]


def test_hub_that_refuses_every_third_request(tmp_path):
    if not HUB_SERVER.exists():
        pytest.skip("there is no Hub on loopback to make flaky")
    flaky = {"HUB_FAIL": "3", "HUB_HOME": str(tmp_path)}
    loaded = load_data(tmp_path, sys.executable, HUB_SERVER, "--", **flaky)
    assert DATASET_SHA256 in loaded.stdout, loaded.stderr[-2000:]
    assert "is_sample: False" in loaded.stdout


UNKNOWN = {"dataset_name": "dair-ai/emotions", "dataset_revision": "0" * 40}
UNKNOWN |= {"model_name": "distilbert/distilbert-base", "model_revision": "0" * 40}
UNKNOWN |= {"dataset_config": "splits"}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_on_the_hub(real_data, notebook, name):
    """The error names the parameter, or the name to which a revision belongs, and its value."""
    with pytest.raises(ValueError, match=rf"^{name.split('_')[0]}_name = ") as caught:
        notebook.up_to("style", **{name: UNKNOWN[name]})
    assert UNKNOWN[name] in str(caught.value)


def test_another_model_alone(real_data, notebook):
    """Its newest commit is taken and recorded; the default model's pin does not hold for it."""
    sources = notebook.up_to("style", model_name=MINILM["model_name"])["sources"]
    assert {key: sources[key] for key in MINILM} == MINILM


@pytest.mark.parametrize("name", ["dataset_name", "model_name"])
def test_own_names_are_never_swapped_for_the_sample(notebook, monkeypatch, name):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", NO_HUB["HF_ENDPOINT"])
    given = {"dataset_name": str(SAMPLE), name: "missing.csv"}
    with pytest.raises(ConnectionError, match=f"^{name} = 'missing.csv'"):
        notebook.up_to("style", **given)


def test_started_in_another_folder(notebook, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", NO_HUB["HF_ENDPOINT"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match="^dataset_name = 'dair-ai/emotion'.*HF_HOME"):
        notebook.up_to("fetch")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks://127.0.0.1:9"])
def test_proxy_that_is_no_use(tmp_path, proxy):
    """A setting that no client understands is told, not raised."""
    settings = dict.fromkeys(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"], proxy)
    loaded = load_data(tmp_path, **settings, NO_PROXY="", no_proxy="")
    assert "is_sample: True" in loaded.stdout, loaded.stderr[-2000:]
    assert "The Hub does not answer" in loaded.stdout


def test_pickled_weights_and_code_are_not_fetched(sample_cells):
    patterns = sample_cells["readable"]
    wanted = ["config.json", "tokenizer.json", "vocab.txt", "bpe.codes", "model.safetensors"]
    names = [*wanted, "pytorch_model.bin", "model.pt", "modeling.py", "tf_model.h5", "x.pkl"]
    assert [name for name in names if any(fnmatch(name, p) for p in patterns)] == wanted


if __name__ == "__main__":
    main()
