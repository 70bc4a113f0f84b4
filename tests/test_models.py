"""Other models than DistilBERT: tiny ones of each architecture, untrained, through the cells."""

from types import SimpleNamespace

import datasets
import pytest
import torch
import transformers
from helpers import MODEL, TOKENS, TRAINER

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
DECODERS = {kind: {**SIZES, "pad_token_id": None} for kind in ("gpt_neox", "llama", "qwen3")}
DECODERS["qwen3"] |= {"head_dim": 16, "num_key_value_heads": 2}
TEXTS = ["so glad", "so sad today", "what a lovely surprise"] * 8


@pytest.fixture
def prepared(setup, tmp_path, minilm_folder):
    """The variables that the model's cells need, with a saved untrained model of a type.

    Decoders are saved as many are: in half precision, their tokenizer without a padding token.
    """

    def prepared(kind, config):
        torch.manual_seed(0)
        folder = tmp_path / "pretrained"
        dtype = torch.float16 if kind in DECODERS else torch.float32
        config = transformers.AutoConfig.for_model(kind, **config)
        transformers.AutoModel.from_config(config, dtype=dtype).save_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_folder)
        if kind in DECODERS:
            tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
        tokenizer.save_pretrained(folder)
        split = datasets.Dataset.from_dict({"text": TEXTS, "label": [1, 0, 1] * 8})
        given = {"dataset": datasets.DatasetDict(train=split, validation=split)}
        given |= {"class_names": ["sad", "glad"], "model_folder": folder, "num_epochs": 1}
        given["sources"] = {"model_name": kind}
        return setup | given | {"train_batch_size": 8, "learning_rate": 1e-2}

    return prepared


@pytest.mark.parametrize("lora_rank", [0, 2])
@pytest.mark.parametrize("kind", [*ENCODERS, *DECODERS])
def test_trains_saves_and_answers(notebook, prepared, tmp_path, kind, lora_rank):
    """Training changes the weights; pipeline() loads what is saved, and padding changes nothing."""
    given = prepared(kind, (ENCODERS | DECODERS)[kind]) | {"lora_rank": lora_rank}
    cells = notebook.run(*TOKENS, *MODEL, *TRAINER[:-1], **given) | {"precision": "fp32"}
    vars(cells["training_arguments"]).update(output_dir=str(tmp_path / "out"), report_to=[])
    cells["training_arguments"].bf16 = False
    trainer = notebook.run("trainer", **cells)["trainer"]
    before = [weights.detach().clone() for weights in trainer.model.parameters()]
    trainer.train()
    pairs = zip(before, trainer.model.parameters(), strict=True)
    changed = [(after - before).abs().max() > 0 for before, after in pairs]
    assert any(changed) and (not all(changed) if lora_rank else all(changed))

    notebook.run("merge", trainer=trainer, lora_rank=lora_rank)
    for part in (trainer.model, cells["tokenizer"]):
        part.save_pretrained(tmp_path / "saved")
    classify = transformers.pipeline("text-classification", str(tmp_path / "saved"))
    alone, padded = (classify(TEXTS[:3], batch_size=size) for size in (1, 3))
    assert {answer["label"] for answer in padded} <= {*cells["class_names"]}
    for one, other in zip(alone, padded, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)


def test_weights_larger_than_memory(notebook, setup, minilm_folder, monkeypatch, capsys):
    files = [minilm_folder / "model.safetensors"]
    notebook.run("memory", **setup, weight_files=files)
    assert not capsys.readouterr().out
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=1))
    notebook.run("memory", **setup, weight_files=files)
    assert "WARNING" in capsys.readouterr().out


def test_pickled_weights_are_refused(notebook, prepared):
    given = prepared("bert", SIZES)
    (given["model_folder"] / "model.safetensors").rename(given["model_folder"] / "model.bin")
    state = {"weight": torch.zeros(1)}
    torch.save(state, given["model_folder"] / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        notebook.run("tokenizer", "model", **given)


def test_code_of_a_model_is_not_run(notebook, prepared, tmp_path):
    given = prepared("bert", SIZES)
    config = given["model_folder"] / "config.json"
    remote = '"auto_map": {"AutoConfig": "mine.Mine"}, "model_type": "mine"'
    config.write_text(config.read_text().replace('"model_type": "bert"', remote))
    (given["model_folder"] / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match="trust_remote_code"):
        notebook.run("model", **given)
    assert not (tmp_path / "ran").exists()
