"""The table of all runs so far: grouped by everything but the seed."""

import json

import pytest


@pytest.fixture
def table(notebook, imports, tmp_path):
    """Write runs, each a dict of what is unlike the first; return the table that shows them."""

    def table(*runs):
        for number, changes in enumerate(runs):
            accuracy = changes.pop("accuracy")
            recipe = changes.pop("recipe", "aaaa")
            parameters = {"run_name": f"run-{number}", "seed": number, "num_epochs": 2, **changes}
            record = {"recipe": recipe, "parameters": parameters, "test": {"accuracy": accuracy}}
            folder = tmp_path / "runs" / f"run-{number}"
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(json.dumps(record))
        given = {
            "runs_dir": tmp_path,
            "parameters": parameters,
            "measured": ["accuracy"],
            "no_recipe": ["run_name"],
        }
        cells = notebook.run("runs", **{**imports, **given})
        return cells["runs_so_far"](tmp_path)

    return table


def test_seeds_share_a_column(table):
    shown = table({"accuracy": 0.92}, {"accuracy": 0.94}, {"accuracy": 0.93})
    assert shown.shape == (2, 1)
    assert shown.loc["seeds"].tolist() == [3]
    assert shown.loc["accuracy"].tolist() == ["0.9300 ± 0.0100"], "of a sample: n - 1"


def test_one_run_has_no_deviation(table):
    assert table({"accuracy": 0.92}).loc["accuracy"].tolist() == ["0.9200"]


def test_other_settings_are_other_columns_named_by_what_differs(table):
    other = {"num_epochs": 3, "recipe": "bbbb"}
    shown = table({"accuracy": 0.92}, {"accuracy": 0.94, **other}, {"accuracy": 0.96, **other})
    assert shown.columns.names == ["recipe", "num_epochs"]
    assert [tuple(column) for column in shown.columns] == [("aaaa", "2"), ("bbbb", "3")]
    assert shown.loc["accuracy"].tolist() == ["0.9200", "0.9500 ± 0.0141"]


def test_the_same_run_counts_once(table):
    shown = table({"accuracy": 0.92}, {"accuracy": 0.92, "seed": 0})
    assert shown.loc["seeds"].tolist() == [1]


def test_metrics_of_other_programs_are_left_out(table, tmp_path):
    (tmp_path / "metrics.json").write_text('{"accuracy": 1.0}')
    assert table({"accuracy": 0.92}).loc["seeds"].tolist() == [1]
