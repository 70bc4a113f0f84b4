"""A wrong parameter stops the run before anything is loaded, by its name, value and meaning."""

import pytest

WRONG = {
    "model_name": "",
    "model_revision": "main",
    "dataset_name": ["a"],
    "class_weighting": "balance",
    "max_length": 7,
    "num_epochs": True,
    "learning_rate": float("nan"),
    "warmup": 1,
    "early_stopping_patience": 0,
    "seed": -1,
    "max_train_samples": 0.5,
    "run_name": "../other",
    "output_dir": 3,
    "offline_fallback": "yes",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_value(notebook, name):
    with pytest.raises(ValueError, match=rf"^{name} = .*: .*hould .*\(.+\)$") as caught:
        notebook.up_to("check-parameters", **{name: WRONG[name]})
    assert repr(WRONG[name]) in str(caught.value)


def test_number_that_yaml_reads_as_text(notebook):
    """papermill's -y and -f give 5e-5 as a string."""
    with pytest.raises(ValueError, match=r"learning_rate = '5e-5': .*5\.0e-5"):
        notebook.up_to("check-parameters", learning_rate="5e-5")


def test_all_faults_at_once(notebook):
    with pytest.raises(ValueError, match="(?s)warmup = 2: .*seed = -1: "):
        notebook.up_to("check-parameters", seed=-1, warmup=2)


def test_4bit_weights_need_adapters(notebook):
    with pytest.raises(ValueError, match="load_in_4bit = True: .*set lora_rank"):
        notebook.up_to("check-parameters", load_in_4bit=True)


def test_misspelt_parameter_is_refused(notebook, setup):
    """papermill itself only warns, and the run would go on with the default."""
    injected = "# Parameters\nseed = 1\nnum_epoch = 3\n"
    with pytest.raises(ValueError, match=r"^num_epoch = 3: .*\(unknown\)$"):
        notebook.run("check-parameters", **setup | {"In": ["x = 1", injected], "num_epoch": 3})
    notebook.run("check-parameters", **setup | {"In": ["# Parameters\nseed = 1\n"]})
