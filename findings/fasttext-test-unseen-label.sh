#!/usr/bin/env bash
# floret 0.10.5 (fastText's code with its test method): test texts of a class that training did not
# have are left out of the score.
# Guess: a test file with two texts of known classes, both right, and two of a class that the model
#        has never seen scores 2 of 4: N = 4, precision 0.5.
# Seen:  N = 2, precision 1, recall 1, no message; test_label does not list the class. A label
#        spelt otherwise in the test file, or a rare class lost to minCountLabel, raises the score.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile floret==0.10.5 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import floret

train = ["__label__joy happy glad merry"] * 30 + ["__label__fear scared afraid worried"] * 30
known = ["__label__joy glad merry", "__label__fear afraid worried"]
unseen = ["__label__anger glad merry", "__label__anger afraid worried"]  # wrong whatever is answered
Path("train.txt").write_text("\n".join(train) + "\n")
Path("test.txt").write_text("\n".join(known + unseen) + "\n")
settings = {"epoch": 20, "lr": 1.0, "thread": 1, "verbose": 0}

model = floret.train_supervised("train.txt", **settings)
result, classes = model.test("test.txt"), sorted(model.test_label("test.txt"))
print("floret", version("floret"))
print("4 test texts, N, precision, recall:", result, "classes:", *classes)

Path("train.txt").write_text("\n".join([*train, *["__label__anger furious cross"] * 3]) + "\n")
kept = floret.train_supervised("train.txt", **settings).test("test.txt")
cut = floret.train_supervised("train.txt", minCountLabel=5, **settings).test("test.txt")
print("three training texts of that class:", kept, "; the same with minCountLabel=5:", cut)
assert result == (2, 1.0, 1.0) and classes == ["__label__fear", "__label__joy"], "the behaviour has changed"
assert kept[0] == 4 and kept[1] <= 0.5 and cut == (2, 1.0, 1.0), "the behaviour has changed"
PYTHON
