#!/usr/bin/env bash
# datasets 5.2.0: what a number in a label column means depends on the file format.
# Guess: one table with one Features object (ClassLabel whose names are numbers: polarity -1, 0, 1,
#        or stars 1 to 5) gives the same classes from CSV as from JSON Lines, and what to_csv
#        writes is what from_csv reads.
# Seen:  CSV takes a number for a class name first and for an index only if no class has that name,
#        JSON for an index always: -1, 0, 1 arrive as missing, "-1", "0". to_csv writes indices and
#        from_csv reads them as names: stars 1 2 3 4 5 return as 1 1 2 3 4. No warning in either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import datasets
from datasets import ClassLabel, Dataset, Features, Value

datasets.disable_progress_bars()


def names(data):
    label = data.features["label"]
    return [label.names[index] if index >= 0 else "missing" for index in data["label"]]


print("datasets", datasets.__version__)
polarity = Features({"text": Value("string"), "label": ClassLabel(names=["-1", "0", "1"])})
table = Dataset.from_dict({"text": ["bad", "plain", "good"], "label": [-1, 0, 1]})
table.to_csv("polarity.csv")
table.to_json("polarity.jsonl")
table.to_parquet("polarity.parquet")
csv = names(Dataset.from_csv("polarity.csv", features=polarity))
json = names(Dataset.from_json("polarity.jsonl", features=polarity))
parquet = names(Dataset.from_parquet("polarity.parquet", features=polarity))
print("polarity in the files: -1 0 1; from CSV:", *csv, "; from JSON Lines:", *json, "; from Parquet:", *parquet)

stars = Features({"text": Value("string"), "label": ClassLabel(names=["1", "2", "3", "4", "5"])})
before = Dataset.from_dict({"text": list("abcde"), "label": ["1", "2", "3", "4", "5"]}, features=stars)
before.to_csv("stars.csv")
after = Dataset.from_csv("stars.csv", features=before.features)
print("stars before to_csv:", *names(before), "; after from_csv:", *names(after))

assert csv == ["-1", "0", "1"] and json == parquet == ["missing", "-1", "0"], "the behaviour has changed"
assert names(after) == ["1", "1", "2", "3", "4"], "the behaviour has changed"
PYTHON
