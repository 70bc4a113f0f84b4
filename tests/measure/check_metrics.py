"""Check that a full run reaches what is published for DistilBERT: check_metrics.py metrics.json

A metric fails if its whole 95% interval lies below the published value; after a single epoch, if
not all of it lies above what always naming the most frequent class would have.
"""

import json
import sys
from pathlib import Path

PUBLISHED = {"accuracy": 0.927, "macro_f1": 0.8825}  # bhadresh-savani, verified by the Hub


def most_frequent(confusion):
    """Return the metrics of always naming the most frequent class."""
    accuracy = max(map(sum, confusion)) / sum(map(sum, confusion))
    return {"accuracy": accuracy, "macro_f1": 2 * accuracy / (1 + accuracy) / len(confusion)}


if __name__ == "__main__":
    record = json.loads(Path(sys.argv[1]).read_text())
    below, short = [], record["parameters"]["num_epochs"] == 1
    for name, limit in (most_frequent(record["confusion_matrix"]) if short else PUBLISHED).items():
        low, high = record["test"]["intervals"][name]
        print(f"test {name} {record['test'][name]:.4f} [{low:.4f}, {high:.4f}], limit {limit:.4f}")
        below += [name] if (low <= limit if short else high < limit) else []
    print(f"{record['seconds'] / 60:.1f} minutes, {record['environment']['device']}")
    if below or record["rows"]["test"] != 2000:
        sys.exit(f"too low: {below}; test rows: {record['rows']['test']}")
