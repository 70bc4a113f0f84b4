"""Other models than DistilBERT: tiny ones of each architecture, untrained, through the cells."""

import inspect

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
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
LONG = " and then we talked about the weather" * 5  # more tokens than max_length
TEXTS = [f"so {('sad', 'glad')[n % 2]} today {n}{LONG * (n % 3 == 0)}" for n in range(60)]


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

    def run(folder, last="logits", **parameters):
        given = {"dataset_name": str(tmp_path / "texts.csv"), "model_name": str(folder)}
        given |= {"output_dir": str(tmp_path / "out"), "max_length": 16, "num_epochs": 1}
        given |= {"train_batch_size": 8, "learning_rate": 1e-2}
        return notebook.up_to(last, **given | parameters)

    return run


@pytest.fixture
def noisy_texts(tmp_path):
    """Two hundred texts of six words: one word tells the class, three in ten labels are wrong."""
    generator = np.random.default_rng(0)
    words = generator.choice(["sad", "sun", "rain", "day", "night", "calm", "house"], (200, 6))
    is_sad = (words == "sad").any(axis=1) ^ (generator.random(200) < 0.3)
    rows = {"text": map(" ".join, words), "label": np.where(is_sad, "sad", "glad")}
    pd.DataFrame(rows).to_csv(tmp_path / "noisy.csv", index=False)
    return str(tmp_path / "noisy.csv")


def check_saved_model(cells, folder):
    """pipeline() loads what is saved and gives the predictions, to 1e-4, alone and in batches."""
    predictions, saved = pd.read_csv(folder / "predictions.csv"), str(folder / "model")
    classify = transformers.pipeline("text-classification", saved, top_k=None)
    texts = predictions["text"].tolist()
    for size in (1, 3):
        answers = classify(texts, batch_size=size, truncation=True)
        table = pd.DataFrame([{a["label"]: a["score"] for a in answer} for answer in answers])
        np.testing.assert_allclose(table[["glad", "sad"]], predictions[["glad", "sad"]], atol=1e-4)
    assert classify.model.config.problem_type == "single_label_classification"
    assert "quantization_config" not in classify.model.config.to_dict()
    known = inspect.signature(classify.model.forward).parameters
    encoded = classify.tokenizer(texts, truncation=True)
    assert {*encoded} <= {*known}, "DistilBERT knows no token_type_ids"
    assert max(map(len, encoded["input_ids"])) == classify.tokenizer.model_max_length == 16


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
    check_saved_model(cells, tmp_path / "out")


@pytest.mark.parametrize("load_in_4bit", [False, True])
def test_merged_adapters_answer_as_trained(notebook, run, pretrained, noisy_texts, load_in_4bit):
    """On labels that are partly noise: no probability is near 0 or 1, so that each change shows."""
    folder = pretrained("gpt_neox", {**GPT_NEOX, "initializer_range": 0.2})
    given = {"dataset_name": noisy_texts, "load_in_4bit": load_in_4bit, "num_epochs": 2}
    cells = run(folder, "fit", **ADAPTERS, **given)
    cells["tokenised"]["test"] = cells["tokenised"]["train"]
    trained = notebook.run("predict", **cells)["test_probabilities"]
    merged = notebook.run("restore", "predict", **cells)["test_probabilities"]
    assert np.abs(merged - trained).max() < 0.02
    assert np.mean(merged.argmax(axis=1) == trained.argmax(axis=1)) >= 0.98
    assert np.ptp(trained[:, 0]) > 0.3, "it has learnt something"


def test_former_head_of_another_size_is_made_anew(run, pretrained):
    """A fine-tuned checkpoint's body is kept; the new head is the one that its seed gives."""
    auto, many = transformers.AutoModelForSequenceClassification, {**SIZES, "num_labels": 5}
    many |= {"problem_type": "multi_label_classification"}
    heads = []
    for checkpoint in ((many, auto), (SIZES,)):
        folder = pretrained("bert", *checkpoint)
        model = run(folder)["model"]
        heads.append(model.classifier.weight)
        assert model.config.problem_type == "single_label_classification"
    assert torch.equal(*heads)


def prefixed(folder):
    """As torch.compile saves them."""
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights = {f"_orig_mod.{name}": weight for name, weight in weights.items()}
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def quantized(folder):
    nf4 = transformers.BitsAndBytesConfig(load_in_4bit=True)
    model = transformers.AutoModel.from_pretrained(folder, quantization_config=nf4)
    model.save_pretrained(folder)


def without_vocabulary(folder):
    """transformers makes a tokenizer that knows no word."""
    for file in folder.glob("*token*"):
        file.unlink()


def pickled(folder):
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


BAD_MODELS = [(prefixed, "model_name = .*missing"), (quantized, "model_name = .*quantized")]
BAD_MODELS += [(without_vocabulary, "model_name = .*tokenizer"), (pickled, "safetensors")]


@pytest.mark.parametrize(("spoil", "message"), BAD_MODELS)
def test_bad_model_is_refused(run, pretrained, spoil, message):
    folder = pretrained("bert", SIZES)
    spoil(folder)
    with pytest.raises((ValueError, OSError), match=message):
        run(folder)


def test_longer_than_the_tokenizer_cuts(run, pretrained):
    with pytest.raises(ValueError, match="max_length = 513: .*512"):
        run(pretrained("bert", SIZES), max_length=513)


def test_code_of_a_model_is_not_run(run, pretrained, tmp_path, monkeypatch):
    """Nor does transformers ask whether it may."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = pretrained("bert", SIZES)
    config = folder / "config.json"
    remote = '"auto_map": {"AutoConfig": "mine.Mine"}, "model_type": "mine"'
    config.write_text(config.read_text().replace('"model_type": "bert"', remote))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match="trust_remote_code"):
        run(folder)
    assert not (tmp_path / "ran").exists()
