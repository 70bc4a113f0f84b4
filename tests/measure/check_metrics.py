"""Check that a full run reaches what is published for DistilBERT: check_metrics.py metrics.json

A metric fails if its whole 95% interval lies below the published value; after a single epoch, below
the value of the baseline.
"""

import json
import sys
from pathlib import Path

PUBLISHED = {"accuracy": 0.927, "macro_f1": 0.8825}  # bhadresh-savani, verified by the Hub

if __name__ == "__main__":
    record = json.loads(Path(sys.argv[1]).read_text())
    below = []
    limits = PUBLISHED if record["parameters"]["num_epochs"] > 1 else record["baseline"]
    for name in PUBLISHED:
        limit, (low, high) = limits[name], record["test"]["intervals"][name]
        print(f"test {name} {record['test'][name]:.4f} [{low:.4f}, {high:.4f}], limit {limit:.4f}")
        below += [name] if high < limit else []
    minutes, memory = record["seconds"] / 60, record["peak_memory_bytes"] / 2**30
    print(f"{minutes:.1f} minutes, {memory:.2f} GiB, {record['environment']['device']}")
    if below or record["rows"]["test"] != 2000:
        sys.exit(f"too low: {below}; test rows: {record['rows']['test']}")
