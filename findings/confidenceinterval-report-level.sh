#!/usr/bin/env bash
# confidenceinterval 1.0.5: the classification report ignores confidence_level nearly everywhere.
# Guess: classification_report_with_ci(…, confidence_level=0.99) widens every interval of the table,
#        and 0.5 narrows every one.
# Seen:  only "F1-Score CI" of the single classes follows. Precision, recall and all three intervals
#        of the rows "micro" and "macro" stay at 95%, so that one table mixes two levels unmarked and
#        the macro F1 of the table is not the one of f1_score(…, confidence_level=0.99).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile confidenceinterval==1.0.5 scikit-learn==1.9.1 \
    statsmodels==0.15.0 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from confidenceinterval import f1_score
from confidenceinterval.classification_report import classification_report_with_ci

truth = [0] * 40 + [1] * 40 + [2] * 40
guess = [0] * 30 + [1] * 40 + [2] * 40 + [0] * 10  # ten texts of each class are wrong
columns = ["Precision CI", "Recall CI", "F1-Score CI"]
tables = {
    level: classification_report_with_ci(truth, guess, confidence_level=level).set_index("Class")[columns]
    for level in (0.5, 0.95, 0.99)
}
print("confidenceinterval", version("confidenceinterval"))
for level, table in tables.items():
    print(f"\nconfidence_level={level}\n{table.to_string()}")
direct = {level: f1_score(truth, guess, confidence_level=level, average="macro")[1] for level in tables}
print("\nf1_score, macro:", {level: tuple(float(end.round(3)) for end in ends) for level, ends in direct.items()})

same = [(row, column) for row in tables[0.95].index for column in columns
        if tables[0.5].loc[row, column] == tables[0.95].loc[row, column] == tables[0.99].loc[row, column]]
print(f"{len(same)} of 15 intervals are the same at 50, 95 and 99%")
assert len(same) == 12 and ("macro", "F1-Score CI") in same, "the behaviour has changed"
assert direct[0.5][0] > direct[0.95][0] > direct[0.99][0], "the behaviour has changed"
PYTHON
