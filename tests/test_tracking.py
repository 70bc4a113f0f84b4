"""When W&B is online, offline or off; training never waits on it."""

import types

import pytest


@pytest.fixture
def start(notebook, imports, monkeypatch, tmp_path):
    """Run the tracking cell; return the modes asked of wandb.init, in order."""
    wandb = imports["wandb"]

    def start(key=False, answers=True, **environment):
        monkeypatch.delenv("WANDB_MODE", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        asked = []

        def init(project, settings, mode=None):
            asked.append(mode)
            if not answers and mode is None:
                raise wandb.errors.CommError("the server does not answer")
            offline = (mode or environment.get("WANDB_MODE")) == "offline"
            return types.SimpleNamespace(
                dir=tmp_path / "run" / "files", offline=offline, url=None, config={}
            )

        monkeypatch.setattr(wandb, "init", init)
        monkeypatch.setattr(wandb, "login", lambda **_: key)
        cells = notebook.run("tracking", **imports)
        return asked, cells["run_place"]

    return start


def test_without_a_key_offline(start, capsys):
    asked, _ = start()
    assert asked == ["offline"]
    assert "wandb sync " in capsys.readouterr().out, "the line that uploads it later"


def test_with_a_key_online(start):
    assert start(key=True)[0] == [None]


@pytest.mark.parametrize("mode", ["offline", "disabled", "online"])
def test_wandb_mode_is_obeyed(start, mode):
    for key in (True, False):
        assert start(key=key, WANDB_MODE=mode)[0] == [None], "the choice is left to WANDB_MODE"


def test_no_answer_means_offline(start, capsys):
    assert start(key=True, answers=False)[0] == [None, "offline"]
    assert "does not answer" in capsys.readouterr().out


def test_disabled_says_so(start):
    assert "WANDB_MODE" in start(WANDB_MODE="disabled")[1]
