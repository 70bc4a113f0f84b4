"""Check a full run's metrics.json against the least that is promised: check_metrics.py FILE"""

import json
import sys
from pathlib import Path

LEAST = {"accuracy": 0.92, "macro_f1": 0.88, "weighted_roc_auc": 0.99}


def main(path):
    record = json.loads(Path(path).read_text())
    test = record["test"]
    for name, least in LEAST.items():
        low, high = test["intervals"][name]
        print(f"test {name} {test[name]:.4f} [{low:.4f}, {high:.4f}], at least {least}")
    print(f"baseline accuracy {record['baseline']['accuracy']:.4f}")
    minutes, memory = record["seconds"] / 60, record["train"]["peak_memory_bytes"] / 2**30
    print(f"{minutes:.1f} minutes, {memory:.2f} GiB, {record['environment']}")
    short = [name for name, least in LEAST.items() if test[name] < least]
    texts = sum(map(sum, test["confusion_matrix"]))
    if short or texts != 2000:
        sys.exit(f"below the least: {short}; {texts} texts in the confusion matrix")


if __name__ == "__main__":
    main(sys.argv[1])
