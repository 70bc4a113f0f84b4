"""When W&B is online, offline or off, and that training never waits on it."""

import http.server
import subprocess
import sys
import threading
import types
from unittest import mock

import pytest
from conftest import ROOT, clean_environment


@pytest.fixture
def start(notebook, imports, monkeypatch, tmp_path):
    """Start a run by the notebook; return the modes asked of wandb.init and the run's place."""
    wandb = imports["wandb"]

    def start(key=False, answers=True, **environment):
        monkeypatch.delenv("WANDB_MODE", raising=False)
        monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        asked = []

        def init(project, settings, mode=None):
            asked.append(mode)
            if not answers and mode is None:
                raise wandb.errors.CommError("the server does not answer")
            offline = (mode or environment.get("WANDB_MODE")) == "offline"
            return types.SimpleNamespace(dir=tmp_path / "run" / "files", offline=offline, url=None)

        monkeypatch.setattr(wandb, "init", init)
        monkeypatch.setattr(wandb, "login", lambda **_: key)
        cells = notebook.run("tracking", **imports)
        return asked, cells["run_place"](cells["start_run"]("project"))

    return start


def test_without_a_key_offline(start):
    asked, place = start()
    assert asked == ["offline"]
    assert "wandb sync " in place, "the line that uploads it later"


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


START_RUN = """
import sys
sys.path.insert(0, "tests")
from conftest import NOTEBOOK, SETUP, Notebook
notebook = Notebook(NOTEBOOK)
cells = notebook.run(*SETUP, "tracking")
run = cells["start_run"]("project")
run.log({"loss": 1})
run.finish()
print(cells["run_place"](run))
"""


class Refusal(http.server.BaseHTTPRequestHandler):
    """A W&B server that knows no key."""

    def do_POST(self):
        self.send_response(401)
        self.end_headers()
        self.wfile.write(b'{"errors": [{"message": "user is not logged in"}]}')

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("server", ["wrong key", "unreachable"])
def test_wandb_itself_falls_back_to_offline(tmp_path, server):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        port = refusing.server_port if server == "wrong key" else 9
        key = {"WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": f"http://127.0.0.1:{port}"}
        environment = clean_environment(tmp_path, key)
        options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
        finished = subprocess.run([sys.executable, "-c", START_RUN], **options)
        refusing.shutdown()
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert "This run is recorded offline instead." in finished.stdout
    assert "wandb sync " in finished.stdout and list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_speed_is_that_of_all_steps_since_the_last_log(notebook, imports, monkeypatch):
    """Steps of 2 s, of 4 s, an evaluation, which does not count, of 2 s; batches of 32."""
    given = {"run_id": None, "run_name": "", "note": "", "group": "a", "tags": None, "record": {}}
    given |= {"start_run": mock.Mock(), "main_process": False, "train_batch_size": 32}
    cells = notebook.run("start", **{**imports, **given, "wandb_project": "project"})
    sent, speed = cells["run"].log, cells["Speed"]()
    state = types.SimpleNamespace(global_step=0)

    def at(seconds, step, event, **options):
        monkeypatch.setattr(cells["time"], "perf_counter", lambda: seconds)
        state.global_step = step
        getattr(speed, event)(None, state, None, **options)

    at(100, 0, "on_epoch_begin")
    at(120, 10, "on_log", logs={"loss": 1})
    at(160, 20, "on_log", logs={"loss": 1})
    at(190, 22, "on_log", logs={"eval_loss": 1})
    at(200, 22, "on_epoch_begin")
    at(216, 30, "on_log", logs={"loss": 1})
    assert [call.args[0] for call in sent.call_args_list] == [
        {"train/samples_per_second": speed, "train/global_step": step}
        for step, speed in {10: 16, 20: 8, 30: 16}.items()
    ]
