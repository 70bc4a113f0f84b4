#!/usr/bin/env bash
# statsmodels 0.15.0: McNemar's corrected test rates a tie as more significant than a difference.
# Guess: if two classifiers disagree on some texts and each is right on as many of them as the other,
#        mcnemar(…, exact=False, correction=True) gives a p-value of 1, the largest there is.
# Seen:  one text each gives p = 0.48, five each 0.75, while 1 against 2 and 5 against 6 give 1.
#        The correction is (|b - c| - 1)², which is 1 and not 0 for b = c; it is not cut off at 0.
#        The exact test gives 1 for each of them. (mlxtend 0.25.0 has the same formula.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile statsmodels==0.15.0 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar

print("statsmodels", version("statsmodels"))
print("only A right  only B right  corrected  exact")
seen = {}
for a, b in [(1, 1), (1, 2), (5, 5), (5, 6), (12, 12), (12, 13)]:
    table = np.array([[80, a], [b, 10]])
    corrected = mcnemar(table, exact=False, correction=True).pvalue
    exact = mcnemar(table, exact=True).pvalue
    print(f"{a:12}  {b:12}  {corrected:9.3f}  {exact:5.3f}")
    assert np.isclose(exact, 1), "the behaviour has changed"
    seen[a, b] = corrected
for a, b in [(1, 2), (5, 6), (12, 13)]:
    assert seen[a, a] < 0.9 and np.isclose(seen[a, b], 1), "the behaviour has changed"
PYTHON
