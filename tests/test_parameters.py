"""A wrong parameter stops the run before anything is loaded, by its name."""

import pytest
from helpers import CHECK

WRONG = {
    "model_name": ["", None],
    "model_revision": [12, "main"],
    "dataset_name": [["a"]],
    "dataset_revision": ["", "v1.0"],
    "text_column": [""],
    "label_column": [0],
    "class_weighting": ["balance", True],
    "max_length": [7, 513, "128"],
    "num_epochs": [0, 2.5, True],
    "learning_rate": [0, -1e-5, 0.5, "5e-5", float("nan")],
    "train_batch_size": [0],
    "weight_decay": [1.5],
    "warmup": [1, -0.1],
    "early_stopping_patience": [0],
    "lora_rank": [-1],
    "seed": [-1],
    "max_train_samples": [-5, 0.5],
    "run_name": ["../other", "a/b", "..", 1],
    "output_dir": [""],
    "figures_dir": [3],
    "offline_fallback": ["yes", 1],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in WRONG.items() for v in vs])
def test_wrong_value(notebook, name, value):
    with pytest.raises(ValueError, match=f"\n{name}\n .*hould .*input_value=") as caught:
        notebook.up_to(**{name: value})
    assert repr(value) in str(caught.value)


def test_all_faults_at_once(notebook):
    with pytest.raises(ValueError, match="(?s)2 validation errors.*warmup.*seed|seed.*warmup"):
        notebook.up_to(seed=-1, warmup=2)


def test_misspelt_parameter_is_refused(notebook, setup):
    """papermill itself only warns, and the run would go on with the default."""
    injected = "# Parameters\nseed = 1\nnum_epoch = 3\n"
    with pytest.raises(ValueError, match="\nnum_epoch\n  Extra inputs are not permitted"):
        notebook.run(*CHECK, **setup | {"In": ["x = 1", injected], "num_epoch": 3})
    notebook.run(*CHECK, **setup | {"In": ["# Parameters\nseed = 1\n"]})
