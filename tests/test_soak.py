"""Thirty epochs: memory does not creep, checkpoints do not pile up."""

import statistics
import subprocess
import time

import psutil
from conftest import NO_HUB, ROOT, clean_environment, papermill_command


def test_thirty_epochs(tmp_path):
    parameters = {"num_epochs": 30, "early_stopping_patience": 30, "max_train_samples": 64}
    command = papermill_command(tmp_path, **parameters, learning_rate=5e-4)
    environment = clean_environment(tmp_path, {**NO_HUB, "WANDB_MODE": "offline"})
    started = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "out" / "sample" / "checkpoints"
    memory, kept = {}, []
    while started.poll() is None:
        epochs = [int(path.name.split("-")[1]) // 2 for path in checkpoints.glob("checkpoint-*")]
        kernels = psutil.Process(started.pid).children()
        if epochs and kernels:  # two steps an epoch
            kept.append(len(epochs))
            memory.setdefault(max(epochs), []).append(kernels[0].memory_info().rss)
        time.sleep(0.1)
    assert started.returncode == 0
    assert max(memory) == 30 and max(kept) <= 3, "the best, the last and the one being written"
    third, last = (statistics.median(memory[epoch]) for epoch in (3, 29))
    print(f"epoch 3: {third / 2**20:.0f} MiB, epoch 29: {last / 2**20:.0f} MiB")
    assert last < 1.05 * third
