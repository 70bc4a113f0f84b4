#!/usr/bin/env bash
# datasets 5.2.0: Parquet splits that number their classes differently are read with one split's names.
# Guess: two splits, each encoded with its own class_encode_column and saved with to_parquet, keep
#        their class names in the files, so load_dataset maps them to each other, or refuses them,
#        as it refuses splits whose columns differ.
# Seen:  the numbers stay, the names of the second file are replaced by those of the first: a test
#        split with blue, red, red, blue is read as blue, green, green, blue. No error, no warning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import datasets
from datasets import Dataset, load_dataset

datasets.disable_progress_bars()


def names(data):
    return [data.features["label"].names[index] for index in data["label"]]


print("datasets", datasets.__version__)
written = {"train": ["blue", "green", "red", "red"], "test": ["blue", "red", "red", "blue"]}
for split, labels in written.items():
    table = Dataset.from_dict({"text": list("abcd"), "label": labels}).class_encode_column("label")
    assert names(table) == labels
    table.to_parquet(f"data/{split}.parquet")
alone = names(Dataset.from_parquet("data/test.parquet"))
read = {split: names(rows) for split, rows in load_dataset("data").items()}
print("test as written:", *written["test"], "; read alone:", *alone, "; beside train:", *read["test"])

assert read["train"] == written["train"] and alone == written["test"], "the behaviour has changed"
assert read["test"] == ["blue", "green", "green", "blue"], "the behaviour has changed"
PYTHON
