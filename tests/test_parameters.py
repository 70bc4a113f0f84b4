"""A wrong parameter stops the run before anything is loaded, by its name."""

import pytest

CELLS = ("parameter-bounds", "check-parameters")

WRONG = [
    ("model_name", ""),
    ("model_name", None),
    ("model_revision", 12),
    ("dataset_name", ["a"]),
    ("dataset_revision", ""),
    ("class_weighting", "balance"),
    ("class_weighting", True),
    ("max_length", 7),
    ("max_length", 513),
    ("max_length", "128"),
    ("num_epochs", 0),
    ("num_epochs", 2.5),
    ("num_epochs", True),
    ("learning_rate", 0),
    ("learning_rate", -1e-5),
    ("learning_rate", 0.5),
    ("learning_rate", "5e-5"),
    ("learning_rate", float("nan")),
    ("train_batch_size", 0),
    ("eval_batch_size", -64),
    ("weight_decay", 1.5),
    ("warmup", 1),
    ("warmup", -0.1),
    ("early_stopping_patience", 0),
    ("seed", -1),
    ("seed", 2**32),
    ("max_train_samples", -5),
    ("max_train_samples", 0.5),
    ("output_dir", ""),
    ("figures_dir", 3),
    ("wandb_project", ""),
    ("offline_fallback", "yes"),
    ("offline_fallback", 1),
]


@pytest.fixture
def given(notebook, imports):
    """The variables that the check sees, as the parameters cell sets them."""
    values = notebook.run("parameters")
    return {**imports, **{name: values[name] for name in imports["Parameters"].model_fields}}


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{n}={v!r}" for n, v in WRONG])
def test_wrong_value(notebook, given, name, value):
    with pytest.raises(ValueError, match=f"parameters cell.*\n{name} = ") as caught:
        notebook.run(*CELLS, **{**given, name: value})
    assert repr(value) in str(caught.value)
    assert "hould " in str(caught.value), "what is allowed"


def test_all_faults_at_once(notebook, given):
    with pytest.raises(ValueError) as caught:
        notebook.run(*CELLS, **{**given, "seed": -1, "warmup": 2})
    assert "seed = -1" in str(caught.value) and "warmup = 2" in str(caught.value)


def test_quick_run_leaves_the_reference_figures(notebook, given):
    quick = notebook.run(*CELLS, **{**given, "max_train_samples": 64})
    full = notebook.run(*CELLS, **given)
    assert quick["figures_dir"].as_posix() == "figures/quick"
    assert full["figures_dir"].as_posix() == "figures"
