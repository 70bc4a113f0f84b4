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
    "seed": -1,
    "max_train_samples": 0.5,
    "run_name": "../other",
    "output_dir": 3,
    "offline_fallback": "yes",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_value(notebook, name):
    with pytest.raises(ValueError, match=rf"(?m)^{name} = .*: .*hould ") as caught:
        notebook.up_to("check-parameters", **{name: WRONG[name]})
    assert repr(WRONG[name]) in str(caught.value)


HINTS = {
    "run_name": (2024, "-r"),
    "offline_fallback": ("false", "False"),
    "learning_rate": ("5e-5", "5.0e-5"),
}


@pytest.mark.parametrize("name", HINTS)
def test_what_papermill_and_yaml_make_of_a_value(notebook, name):
    """A name that looks like a number, a word for false, a number that YAML takes for a text."""
    value, hint = HINTS[name]
    with pytest.raises(ValueError, match=rf"(?s)^{name} = {value!r}: .*{hint}"):
        notebook.up_to("check-parameters", **{name: value})


def test_all_faults_at_once(notebook):
    with pytest.raises(ValueError, match="(?s)seed = -1: .*warmup = 2: "):
        notebook.up_to("check-parameters", seed=-1, warmup=2)


def test_4bit_weights_need_adapters(notebook, setup):
    with pytest.raises(ValueError, match="load_in_4bit = True: .*set lora_rank"):
        notebook.run("imports", "devices", **setup | {"load_in_4bit": True})


def test_misspelt_parameter_is_refused(notebook, setup):
    """papermill itself only warns, and the run would go on with the default."""
    with pytest.raises(ValueError, match=r"^num_epoch = 3: .*not permitted"):
        notebook.up_to("check-parameters", num_epoch=3, seed=1)
    again = notebook.run("hosted", "parameters", "check-parameters", "pinned", "check-parameters")
    assert again["parameters"] == setup["parameters"], "what later cells define does not count"


def test_modules_and_functions_of_own_cells_are_no_parameters(notebook, setup):
    found = notebook.up_to("check-parameters", pytest=pytest, helper=len)
    assert found["parameters"] == setup["parameters"]
