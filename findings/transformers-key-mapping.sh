#!/usr/bin/env bash
# transformers 5.23.0: from_pretrained(key_mapping=…) ignores a rule whose target the model lacks.
# Guess: a rule that renames "classifier.weight" to "former.weight" leaves the head without weights,
#        so that a fine-tuned checkpoint starts with a new head, and the loading info says so.
# Seen:  the head keeps the checkpoint's weights, nothing is missing, nothing is unexpected. A rule
#        counts only if its target is a parameter of the model; otherwise the old name is used.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import torch
import transformers
from transformers import AutoModelForSequenceClassification, BertConfig

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
model = AutoModelForSequenceClassification.from_config(BertConfig(vocab_size=9, num_labels=3, **sizes))
torch.nn.init.constant_(model.classifier.weight, 7.0)
model.save_pretrained(f"{sys.argv[1]}/tuned")

rule = {r"^classifier\.": "former."}
loaded, found = AutoModelForSequenceClassification.from_pretrained(
    f"{sys.argv[1]}/tuned", key_mapping=rule, output_loading_info=True
)
kept = bool((loaded.classifier.weight == 7.0).all())
print("transformers", transformers.__version__, "rule", rule)
print("the head has the checkpoint's weights:", kept)
print("missing:", found["missing_keys"], "unexpected:", found["unexpected_keys"])
assert kept and not found["missing_keys"] and not found["unexpected_keys"], "the behaviour has changed"
PYTHON
