"""How each tool of other_tools.py classifies with a saved model, in its own environment.

    python tests/measure/other_tools_readers.py TOOL FOLDER

FOLDER has the saved model in model/ and the texts in given.json; found.json gets the answers.
"""

import functools
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

SPEED_TEXTS, ROUNDS = 200, 3


def in_order(answers, folder):
    """Return what a pipeline answers as probabilities, shape (texts, classes)."""
    names = json.loads((folder / "config.json").read_text())["id2label"].values()
    answers = [{each["label"]: each["score"] for each in answer} for answer in answers]
    return np.array([[answer[name] for name in names] for answer in answers])


def softmax(logits):
    """Return the probabilities of logits."""
    powers = np.exp(logits - np.max(logits, axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def use_pipeline(folder, texts, **options):
    """Any version of transformers."""
    import transformers

    classify = transformers.pipeline("text-classification", str(folder), top_k=None)
    return in_order(classify(texts, **options), folder)


def use_tokenizers(folder, texts):
    """The Rust library alone, which has no models: are the token ids those of transformers?"""
    import tokenizers
    import transformers

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [row.ids for row in tokenizer.encode_batch(texts)]
    options = {"truncation": True, "max_length": max(map(len, ids))}
    same = ids == transformers.AutoTokenizer.from_pretrained(folder)(texts, **options)["input_ids"]
    return f"{'same' if same else 'other'} token ids, at most {max(map(len, ids))}"


def export_onnx(folder):
    """Return the path of the model as ONNX, next to which quantised ones have their place."""
    import torch
    import transformers

    path = folder / "onnx" / "model.onnx"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        batch = dict(tokenizer(["two texts", "of any length"], padding=True, return_tensors="pt"))
        shapes = dict.fromkeys(batch, {0: "texts", 1: "tokens"})
        names = {"input_names": [*batch], "output_names": ["logits"], "dynamic_shapes": shapes}
        torch.onnx.export(model, kwargs=batch, f=path, external_data=False, dynamo=True, **names)
    return path


def on_onnx(path):
    """Return a function that gives a text's logits by an ONNX file, on as many threads as torch."""
    import onnxruntime
    import torch
    import transformers

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent.parent)
    cut = functools.partial(tokenizer, truncation=True, return_tensors="np")
    return lambda text: session.run(None, dict(cut([text])))[0][0]


def use_onnx(folder, texts):
    """torch.onnx and onnxruntime."""
    return softmax([*map(on_onnx(export_onnx(folder)), texts)])


def quantise(folder):
    """Return the path of the ONNX file with weights of eight bits."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    quantised = export_onnx(folder).with_name("model_quantized.onnx")
    if not quantised.exists():
        model = onnx.load(export_onnx(folder))
        del model.graph.value_info[:]  # the exporter's shapes contradict those of onnx
        quantize_dynamic(model, quantised)
    return quantised


def use_int8(folder, texts):
    """onnxruntime with weights of eight bits."""
    return softmax([*map(on_onnx(quantise(folder)), texts)])


def measure_int8(folder, texts, labels):
    """Return size, accuracy and texts per second, one text at a time, beside pipeline()."""
    import transformers

    paths = {"onnx": export_onnx(folder), "int8": quantise(folder)}
    classify = transformers.pipeline("text-classification", str(folder), truncation=True)
    readers = {"pipeline": classify} | {name: on_onnx(path) for name, path in paths.items()}
    speeds = {name: [] for name in readers}
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            started = time.perf_counter()
            for text in texts[:SPEED_TEXTS]:
                reader(text)
            speeds[name].append(len(texts[:SPEED_TEXTS]) / (time.perf_counter() - started))
    classes = [*json.loads((folder / "config.json").read_text())["id2label"].values()]
    right = {}
    for name in paths:
        predicted = [classes[int(readers[name](text).argmax())] for text in texts]
        right[name] = np.array(predicted) == np.array(labels)
    pairs = (("onnx", "int8"), ("int8", "onnx"))
    # Bonett and Price (2012): an interval of paired shares that is honest if few differ
    lost, won = [((right[a] & ~right[b]).sum() + 1) / (len(texts) + 2) for a, b in pairs]
    half = 1.96 * np.sqrt((lost + won - (won - lost) ** 2) / (len(texts) + 2))
    accuracy = {name: float(hits.mean()) for name, hits in right.items()}
    return {
        "texts": len(texts),
        "accuracy": accuracy | {"change": [float(won - lost - half), float(won - lost + half)]},
        "megabytes": {name: path.stat().st_size / 1e6 for name, path in paths.items()},
        "texts_per_second": {name: statistics.median(each) for name, each in speeds.items()},
    }


def use_cross_encoder(folder, texts):
    """sentence-transformers."""
    import sentence_transformers

    model = sentence_transformers.CrossEncoder(str(folder))
    return [model.predict(text, apply_softmax=True) for text in texts]


def use_openvino(folder, texts, **options):
    """OpenVINO, from the ONNX file."""
    import openvino
    import transformers

    model = openvino.compile_model(export_onnx(folder), "CPU", options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    cut = functools.partial(tokenizer, truncation=True, return_tensors="np")
    return softmax([model(dict(cut([text])))["logits"][0] for text in texts])


def use_optimum(folder, texts):
    """optimum-onnx: transformers' pipeline() over onnxruntime."""
    import transformers
    from optimum.onnxruntime import ORTModelForSequenceClassification

    model = ORTModelForSequenceClassification.from_pretrained(folder, export=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    classify = transformers.pipeline("text-classification", model, tokenizer=tokenizer)
    return in_order(classify(texts, top_k=None, truncation=True), folder)


def use_ctranslate2(folder, texts):
    """CTranslate2, which converts the model."""
    import ctranslate2
    import transformers

    converted = folder / "ctranslate2"
    ctranslate2.converters.TransformersConverter(str(folder)).convert(str(converted), force=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(texts, truncation=True)["input_ids"]
    output = ctranslate2.Encoder(str(converted)).forward_batch(ids)
    return f"no classes: vectors of {output.last_hidden_state.shape[-1]} numbers"


def use_setfit(folder, texts):
    """SetFit."""
    import setfit

    return setfit.SetFitModel.from_pretrained(str(folder)).predict_proba(texts).numpy()


def use_spacy(folder, texts):
    """spacy-transformers."""
    import spacy

    nlp = spacy.blank("en")
    model = {"@architectures": "spacy-transformers.TransformerModel.v3", "name": str(folder)}
    nlp.add_pipe("transformer", config={"model": model})
    nlp.initialize()
    width = [*nlp.pipe(texts)][0]._.trf_data.model_output.last_hidden_state.shape[-1]
    return f"no classes: vectors of {width} numbers"


ONNX = ["onnxruntime==1.31.1", "onnxscript==0.7.2", "onnx==1.23.2"]
OPENVINO = ["openvino==2026.4.1", *ONNX]
CUT = functools.partial(use_pipeline, truncation=True)
F32 = functools.partial(use_openvino, INFERENCE_PRECISION_HINT="f32")
TOOLS = {  # name: reader, packages of its environment, the tool first, what to do
    "pipeline": (use_pipeline, [], "pass `truncation=True`"),
    "transformers-4.57": (CUT, ["transformers==4.57.6"], "pass `truncation=True`"),
    "transformers-4.46": (CUT, ["transformers==4.46.3"], "pass `truncation=True`"),
    "tokenizers": (use_tokenizers, [], "nothing"),
    "onnx": (use_onnx, ONNX, "pass `truncation=True` to the tokenizer"),
    "int8": (use_int8, ONNX, "measure it on your own texts"),
    "javascript": (None, ["@huggingface/transformers@4.3.1"], "shorten long texts before"),
    "cross-encoder": (use_cross_encoder, [], "one text a call, with `apply_softmax=True`"),
    "openvino": (use_openvino, OPENVINO, "ask for f32 where bfloat16 is used"),
    "openvino-f32": (F32, OPENVINO, 'set `INFERENCE_PRECISION_HINT` to `"f32"`'),
    "optimum": (use_optimum, ["optimum-onnx==0.1.0", *ONNX[:1]], "pass `truncation=True`"),
    "ctranslate2": (use_ctranslate2, ["ctranslate2==4.8.5"], "use another tool"),
    "setfit": (use_setfit, ["setfit==1.2.0"], "use another tool"),
    "spacy": (use_spacy, ["spacy-transformers==1.4.0"], "use another tool"),
}


def answer(name, work):
    """Let a tool read the texts in work, the long one apart; write what it answers there."""
    read, folder, answers = TOOLS[name][0], work / "model", {}
    given = json.loads((work / "given.json").read_text())
    for key, texts in given.items():
        try:
            found = read(folder, texts)
            answers[key] = found if isinstance(found, str) else np.asarray(found).tolist()
        except Exception as error:  # what the table is for
            answers[key] = f"{type(error).__name__}: {error}".splitlines()[0][:150]
    if name == "int8" and isinstance(answers["texts"], list):
        rows = pd.read_csv(work / "predictions.csv", dtype=str, keep_default_na=False)
        answers["measured"] = measure_int8(folder, [*rows["text"]], [*rows["label"]])
    (work / "found.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    answer(sys.argv[1], Path(sys.argv[2]))
