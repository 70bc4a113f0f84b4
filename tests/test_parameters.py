"""A wrong parameter stops the run before anything is loaded, by its name."""

import pytest

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
    ("run_name", "../other"),
    ("run_name", "a/b"),
    ("run_name", ".."),
    ("run_name", 1),
    ("output_dir", ""),
    ("figures_dir", 3),
    ("wandb_project", ""),
    ("text_column", ""),
    ("label_column", 0),
    ("resume", "no"),
    ("offline_fallback", "yes"),
    ("offline_fallback", 1),
]


@pytest.fixture
def check(notebook, imports):
    """Run the check on the parameters cell with some values replaced, as papermill does."""
    values = notebook.run("parameters")
    defaults = {name: values[name] for name in imports["Parameters"].model_fields}
    given = {**imports, **defaults}
    return lambda **replaced: notebook.run("versions", "check-parameters", **{**given, **replaced})


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{n}={v!r}" for n, v in WRONG])
def test_wrong_value(check, name, value):
    with pytest.raises(ValueError, match=f"parameters cell.*\n{name} = ") as caught:
        check(**{name: value})
    assert repr(value) in str(caught.value)
    assert "hould " in str(caught.value), "what is allowed"


def test_all_faults_at_once(check):
    with pytest.raises(ValueError) as caught:
        check(seed=-1, warmup=2)
    assert "seed = -1" in str(caught.value) and "warmup = 2" in str(caught.value)


def test_quick_run_leaves_the_reference_figures(check):
    quick = check(max_train_samples=64)
    full = check()
    assert quick["figures_dir"].as_posix() == "figures/quick"
    assert full["figures_dir"].as_posix() == "figures"


def test_named_runs_have_folders_of_their_own(check):
    named = check(run_name="seed-0")
    assert named["output_dir"].as_posix() == "outputs/runs/seed-0"
    assert named["figures_dir"].as_posix() == "figures/runs/seed-0"
    assert named["runs_dir"].as_posix() == "outputs"


def test_misspelt_parameter_is_refused(check):
    """papermill itself only warns, and the run would go on with the default."""
    injected = {"In": ["x = 1", "# Parameters\nseed = 1\nnum_epoch = 3\n"]}
    with pytest.raises(ValueError, match="\nnum_epoch = 3: Extra inputs are not permitted"):
        check(**injected, seed=1, num_epoch=3)
    check(**injected | {"In": ["# Parameters\nseed = 1\n"]}, seed=1)


def test_processes_share_a_step_s_texts(check, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    check()
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match="train_batch_size = 32: the 3 processes"):
        check()
