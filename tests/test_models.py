"""Other models than DistilBERT: tiny ones of each architecture, untrained, through the cells."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 64, "vocab_size": 30522, "pad_token_id": 0}
BART = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 30522}
BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32}
BART |= {"decoder_ffn_dim": 32, "pad_token_id": 0, "eos_token_id": 102, "bos_token_id": 101}
DISTILBERT = {"dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 30522}
GPT_NEOX = {**SIZES, "pad_token_id": None}
MODELS = {
    "distilbert": DISTILBERT,
    "roberta": {**SIZES, "type_vocab_size": 2},
    "modernbert": {**SIZES, "cls_token_id": 101, "sep_token_id": 102},
    "deberta-v2": SIZES,
    "bart": BART,
    "gpt_neox": GPT_NEOX,
    "llama": GPT_NEOX,
}
ADAPTERS = {"lora_rank": 2, "learning_rate": 1e-2}
TEXTS = [f"{'so glad' if number % 2 else 'so sad'} today {number}" for number in range(60)]


@pytest.fixture
def pretrained(tmp_path, minilm_folder):
    """Save an untrained model of a type, and MiniLM's tokenizer with it; return the folder.

    Decoders are saved as many are: in half precision, their tokenizer without a padding token.
    """

    def pretrained(kind, config, auto=transformers.AutoModel, tokenizer=True):
        torch.manual_seed(0)
        folder = tmp_path / "pretrained"
        decoder = config["pad_token_id"] is None if "pad_token_id" in config else False
        config = transformers.AutoConfig.for_model(kind, **config)
        model = auto.from_config(config, dtype=torch.float16 if decoder else torch.float32)
        model.save_pretrained(folder)
        if tokenizer:
            tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_folder)
            if decoder:
                tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"
            tokenizer.save_pretrained(folder)
        return folder

    return pretrained


@pytest.fixture
def run(notebook, tmp_path, monkeypatch):
    """Run the notebook's cells up to one, on sixty texts of two classes."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    texts = pd.DataFrame({"text": TEXTS, "label": ["sad", "glad"] * 30})
    texts.to_csv(tmp_path / "texts.csv", index=False)

    def run(folder, last="longest", **parameters):
        given = {"dataset_name": str(tmp_path / "texts.csv"), "model_name": str(folder)}
        given |= {"output_dir": str(tmp_path / "out"), "figures_dir": str(tmp_path / "figures")}
        given |= {"train_batch_size": 8, "learning_rate": 1e-2, "num_epochs": 1}
        return notebook.up_to(last, "distribution", "lengths-plot", **given | parameters)

    return run


def check_saved_model(cells, folder):
    """pipeline() loads what is saved and gives the predictions, to 1e-4, alone and in batches."""
    predictions = pd.read_csv(folder / "out" / "predictions.csv")
    classify = transformers.pipeline(
        "text-classification", str(folder / "out" / "model"), top_k=None
    )
    for size in (1, 3):
        answers = classify(predictions["text"].tolist(), batch_size=size)
        table = pd.DataFrame([{a["label"]: a["score"] for a in answer} for answer in answers])
        np.testing.assert_allclose(table[["glad", "sad"]], predictions[["glad", "sad"]], atol=1e-4)
    assert cells["model"].config.problem_type == "single_label_classification"


CASES = [(kind, {}) for kind in MODELS] + [("distilbert", ADAPTERS), ("llama", ADAPTERS)]
CASES += [
    (k, {**ADAPTERS, "load_in_4bit": True, "num_epochs": 2}) for k in ("distilbert", "gpt_neox")
]


@pytest.mark.parametrize(("kind", "parameters"), CASES)
def test_trains_saves_and_answers(run, pretrained, tmp_path, kind, parameters):
    """Training changes the weights that it should; the saved model is an ordinary one."""
    folder = pretrained(kind, MODELS[kind])
    before = {k: v.clone() for k, v in run(folder, "model")["model"].state_dict().items()}
    cells = run(folder, "predictions", **parameters)
    after = {name: weights.cpu() for name, weights in cells["model"].state_dict().items()}
    changed = {name for name in before if not torch.equal(before[name].cpu(), after[name])}
    embeddings = {name for name in before if "embed" in name}
    assert not changed & embeddings if parameters else changed == {*before}
    assert changed, "the head at least"
    check_saved_model(cells, tmp_path)
    config = json.loads((tmp_path / "out" / "model" / "config.json").read_text())
    assert "quantization_config" not in config


@pytest.mark.parametrize("classes", [2, 5])
def test_former_head_is_left_out(run, pretrained, classes):
    """A fine-tuned checkpoint gets a new head, the one that its seed gives to any weights."""
    auto, many = transformers.AutoModelForSequenceClassification, {**SIZES, "num_labels": classes}
    many |= {"problem_type": "multi_label_classification"}
    heads = []
    for checkpoint in ((many, auto), (SIZES,)):
        model = run(pretrained("bert", *checkpoint))["model"]
        heads.append(model.classifier.weight)
        assert model.config.problem_type == "single_label_classification"
    assert torch.equal(*heads)


def test_weights_without_tokenizer(run, pretrained):
    """transformers makes a tokenizer that knows no word."""
    with pytest.raises(ValueError, match="model_name = .*unknown to the tokenizer.*"):
        run(pretrained("bert", SIZES, tokenizer=False))


def test_longer_than_the_model_can_read(run, pretrained):
    folder = pretrained("roberta", {**SIZES, "max_position_embeddings": 6})
    with pytest.raises(ValueError, match="model_name = .*max_length = 128: .*smaller max_length"):
        run(folder)
    run(pretrained("roberta", {**SIZES, "max_position_embeddings": 600}), max_length=590)


def test_not_a_classifier(run, pretrained):
    folder = pretrained(
        "vit", {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    )
    with pytest.raises(ValueError, match="(?s)model_name = .*Choose"):
        run(folder)


def test_pickled_weights_are_refused(run, pretrained):
    folder = pretrained("bert", SIZES)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="model_name = .*safetensors.*save_pretrained"):
        run(folder)


def test_code_of_a_model_is_not_run(run, pretrained, tmp_path):
    folder = pretrained("bert", SIZES)
    config = folder / "config.json"
    remote = '"auto_map": {"AutoConfig": "mine.Mine"}, "model_type": "mine"'
    config.write_text(config.read_text().replace('"model_type": "bert"', remote))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match="(?s)model_name = .*trust_remote_code"):
        run(folder)
    assert not (tmp_path / "ran").exists()
