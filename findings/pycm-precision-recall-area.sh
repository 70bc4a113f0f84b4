#!/usr/bin/env bash
# pycm 4.6: the area under its precision-recall curve depends on how many texts a class has.
# Guess: a model that ranks every text of a class above all others has an area of 1 under PRCurve,
#        as it has under ROCCurve and as scikit-learn's average precision is.
# Seen:  PRCurve.area() is 1 - 1/k for a class of k texts: 0.5 for two, 0.667 for three. The curve
#        begins at the recall of the highest score, 1/k; the stretch from recall 0 is left out.
#        ROCCurve adds its missing end point, PRCurve does not. So rare classes look bad.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile pycm==4.6 scikit-learn==1.9.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from pycm import PRCurve, ROCCurve
from sklearn.metrics import auc, average_precision_score, precision_recall_curve

print("pycm", version("pycm"), "scikit-learn", version("scikit-learn"))
print("texts  pycm PR  pycm ROC  scikit-learn AP  scikit-learn trapezoid")
for size in (2, 3, 5, 20):
    truth = np.array(["surprise"] * size + ["other"] * 40)
    score = np.concatenate([np.linspace(0.9, 0.8, size), np.linspace(0.4, 0.1, 40)])
    arguments = {"probs": np.column_stack([1 - score, score]), "classes": ["other", "surprise"]}
    area = PRCurve(truth, **arguments).area()["surprise"]
    roc = ROCCurve(truth, **arguments).area()["surprise"]
    precision, recall, _ = precision_recall_curve(truth == "surprise", score)
    expected = average_precision_score(truth == "surprise", score)
    print(f"{size:5}  {area:7.3f}  {roc:8.3f}  {expected:15.3f}  {auc(recall, precision):22.3f}")
    assert np.isclose(roc, 1) and np.isclose(expected, 1) and np.isclose(auc(recall, precision), 1)
    assert np.isclose(area, 1 - 1 / size), "the behaviour has changed"
PYTHON
