#!/usr/bin/env bash
# mapie 1.6.0: expected_calibration_error(num_bins=n) uses n - 1 bins, and with "array split" its
# value depends on the order of the rows.
# Guess: two equal bins keep texts of confidence 0.4 (half of them right) apart from texts of 0.9
#        (0.8 right), which gives 0.1; and a calibration error is the same for any order of rows.
# Seen:  the error is 0: "uniform" and "quantile" draw n edges and so make n - 1 bins, in which an
#        overconfident and an underconfident group cancel. One bin, which is accepted, gives NaN.
#        "array split" cuts the rows as they stand, without sorting them by score first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile mapie==1.6.0 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from mapie.metrics.calibration import expected_calibration_error

print("mapie", version("mapie"))
score = np.repeat([0.4, 0.9], 50)
right = np.array([1] * 25 + [0] * 25 + [1] * 40 + [0] * 10)  # 0.5 and 0.8 of them
by_hand = 0.5 * abs(0.5 - 0.4) + 0.5 * abs(0.8 - 0.9)
seen = {bins: expected_calibration_error(right, score, num_bins=bins, split_strategy="uniform") for bins in (1, 2, 3)}
print(f"by hand, bins below and above 0.5: {by_hand:.3f}; mapie by num_bins:",
      {bins: round(float(value), 3) for bins, value in seen.items()})
assert np.isnan(seen[1]) and abs(seen[2]) < 1e-9 and np.isclose(seen[3], by_hand), "the behaviour has changed"

score = np.linspace(0.3, 0.99, 400)
right = (np.arange(400) % 10 < 10 * np.where(score < 0.6, score + 0.2, score - 0.2)).astype(int)
orders = {"by score": np.arange(400), "shuffled": np.random.default_rng(0).permutation(400)}
for strategy in ("uniform", "quantile", "array split"):
    values = [expected_calibration_error(right[order], score[order], num_bins=5, split_strategy=strategy)
              for order in orders.values()]
    print(f"{strategy}:", {name: round(float(value), 3) for name, value in zip(orders, values)})
    assert np.isclose(*values) == (strategy != "array split"), "the behaviour has changed"
PYTHON
