#!/usr/bin/env bash
# mlxtend 0.25.0: the p-value of proportion_difference depends on which model is named first.
# Guess: the test whether two accuracies differ is two-sided: its user guide states the null
#        hypothesis as "the same" and rejects it above a z of 1.96. So order does not matter.
# Seen:  the p-value is the lower tail of z alone. The same two models give p = 0.03 or 0.97 by
#        order; 0.95 against 0.50 on 1,000 texts gives p = 1. With the worse model first the
#        p-value is half of the two-sided one, so that a |z| of 1.82 passes for significant.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile mlxtend==0.25.0 scikit-learn==1.9.1 numpy==2.4.6 \
    pandas==3.1.1 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from mlxtend.evaluate import proportion_difference
from scipy.stats import norm

print("mlxtend", version("mlxtend"))
print("first  second  texts       z  mlxtend  two-sided")
seen = []
for first, second, texts in [(0.85, 0.93, 100), (0.93, 0.85, 100), (0.95, 0.50, 1000), (0.50, 0.95, 1000)]:
    z, p = proportion_difference(first, second, texts)
    right = 2 * norm.sf(abs(z))
    print(f"{first:5}  {second:6}  {texts:5}  {z:6.2f}  {p:7.3f}  {right:9.3f}")
    seen.append(p)
    assert np.isclose(p, norm.cdf(z)), "the behaviour has changed"
assert seen[0] < 0.05 and seen[1] > 0.95 and seen[2] > 0.999 and seen[3] < 0.001, "the behaviour has changed"
PYTHON
