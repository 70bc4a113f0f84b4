"""Measure the notebook from what gpu.sh has packed: gpu_run.py RESULT.json START SECONDS

The result is written after each step, so that it has what was measured until a cut. All steps
together end SECONDS after START, in seconds since 1970.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import psutil
import safetensors.torch
import torch
import transformers

ROOT = Path(__file__).parents[2]
WORK = ROOT.parent  # project, weights, data and wheels lie side by side in it
sys.path.insert(0, str(ROOT / "tests"))
from helpers import clean_environment, papermill_command

WIDENED = "all-MiniLM-L6-v2 widened to DistilBERT's shape"
DECODER = "untrained GPT-NeoX"
SHORT = {"max_train_samples": 1000, "num_epochs": 1}
QLORA = {**SHORT, "load_in_4bit": True, "lora_rank": 16}
GIVEN = json.loads(os.environ.get("GPU_RUN_PARAMETERS", "{}"))
# Share of the time by which each step has to end; what one leaves of its own, the next may use.
ENDS = {"machine": 0.23, "defaults": 0.63, "short": 0.73, "QLoRA": 0.81, "benchmark": 1}
MEMORY = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "500"]
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
NAMES = {  # of BERT's layers in DistilBERT; the longer ones first
    "encoder.layer": "transformer.layer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def twice(size, heads=1):
    """Indices that take each unit twice: [h, h], or the same within each head."""
    return torch.arange(size).view(heads, -1).repeat(1, 2).flatten()


def widened(old):
    """DistilBERT's weights, twice as wide, that compute the function of a BERT of 12 heads.

    What reads both twins of a unit is halved. Queries and keys shrink so that the softmax of a head
    of twice the size gets the same logits.
    """
    new, first_type = {}, old["embeddings.token_type_embeddings.weight"][0]
    for name, value in old.items():
        if "position_embeddings" in name:
            value = value + first_type  # DistilBERT has no types
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        if "_embeddings" not in name:
            value = value[twice(len(value), 12 if re.search("[qkv]_lin", name) else 1)]
        if value.ndim == 2:
            value = value[:, twice(value.shape[1], 12 if "out_lin" in name else 1)]
            value = value if "_embeddings" in name else value / 2
        new[name] = value * 2**-0.25 if re.search("[qk]_lin", name) else value
    return {n: v for n, v in new.items() if not re.search("pooler|token_type|position_ids", n)}


@torch.no_grad()
def make_models():
    """Save the widened model and a small decoder; return how far widening is from exact."""
    packed = safetensors.torch.load_file(WORK / "minilm" / "packed.safetensors")
    scales = {name: packed.pop(name) for name in [*packed] if name.endswith(".scale")}
    old = {name: value * scales.get(f"{name}.scale", 1) for name, value in packed.items()}
    config = transformers.BertConfig.from_pretrained(WORK / "minilm")
    bert = transformers.BertModel(config).eval()
    assert not bert.load_state_dict(old, strict=False).missing_keys
    model, state = transformers.DistilBertModel(transformers.DistilBertConfig()), widened(old)
    model.eval().load_state_dict(state)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, 30000, (8, 24), generator=generator)
    stacked = bert(ids).last_hidden_state.repeat(1, 1, 2)
    gap = (model(ids).last_hidden_state - stacked).abs().max().item()
    assert gap < 1e-3, f"widening changed the last hidden state by {gap}"
    for weights in model.parameters():  # noise, by which training can part the twins
        if weights.ndim == 2:
            weights += 0.05 * weights.std() * torch.randn(weights.shape, generator=generator)
    model.save_pretrained(WORK / WIDENED)
    tokenizer = transformers.AutoTokenizer.from_pretrained(WORK / "minilm")
    tokenizer.save_pretrained(WORK / WIDENED)
    size = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
    size |= {"intermediate_size": 1024, "vocab_size": len(tokenizer), "pad_token_id": None}
    config = transformers.GPTNeoXConfig(**size)
    transformers.AutoModel.from_config(config, dtype=torch.float16).save_pretrained(WORK / DECODER)
    tokenizer.pad_token, tokenizer.eos_token = None, "[SEP]"  # as decoders' tokenizers often are
    tokenizer.save_pretrained(WORK / DECODER)
    return gap


def commit():
    """The commit of the pack, which has no git."""
    return (WORK / "commit").read_text().strip()


def versions():
    """Versions of what the results hang on."""
    found = {"python": sys.version.split()[0], "cuda": torch.version.cuda}
    names = ("torch", "transformers", "accelerate", "datasets", "peft", "bitsandbytes", "wandb")
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def stop(process):
    """Kill a process and all that it has started, such as Jupyter's kernel."""
    for part in [*process.children(recursive=True), process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            part.kill()
    process.wait()


def step(name, command, left):
    """Run a command for so many seconds at most; return what was measured, and its output."""
    environment = clean_environment(WORK / name, {**ENVIRONMENT, "COMMIT": commit()})
    found, start = {}, time.time()
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryFile("w+") as memory:
        sampler = subprocess.Popen(MEMORY, stdout=memory) if shutil.which(MEMORY[0]) else None
        streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
        process = psutil.Popen(command, cwd=WORK, env=environment, **streams)
        try:
            if status := process.wait(max(left, 1)):
                found["error"] = f"exit status {status}"
        except psutil.TimeoutExpired:
            found["error"] = f"stopped after {left:.0f} seconds"
            stop(process)
        found["minutes"] = (time.time() - start) / 60
        if sampler:
            sampler.kill()
            sampler.wait()
        log.seek(0)
        memory.seek(0)
        output, used = log.read(), re.findall(r"^\d+", memory.read(), re.MULTILINE)
    found["peak_gpu_memory_mib"] = max(map(int, used), default=None)  # of the whole card
    if "error" in found:
        print(output[-3000:])
    return found, output


def notebook(name, left, model, **parameters):
    """Execute the notebook; return time, speed, memory and metrics."""
    folder, parameters = WORK / name, {**parameters, **GIVEN}
    folder.mkdir()
    places = {"model_name": WORK / model, "dataset_name": WORK / "emotion"}
    found, _ = step(name, papermill_command(folder, **{**places, **parameters}), left)
    if (folder / "out" / "metrics.json").exists():
        record = json.loads((folder / "out" / "metrics.json").read_text())
        found |= {key: record["environment"][key] for key in ("device", "precision")}
        found["texts_per_second"] = record["training"]["train_samples_per_second"]
        found |= {key: record[key] for key in ("rows", "validation", "test")}
    return {"model": model, "parameters": parameters, **found}


def qlora(name, left):
    """Train adapters on the decoder in 4 bits, where that is installed."""
    command = [sys.executable, "-c", "import bitsandbytes"]  # here it would take GPU memory
    tried = subprocess.run(command, capture_output=True, text=True)
    if tried.returncode:
        return {"skipped": tried.stderr.strip().splitlines()[-1]}
    return notebook(name, left, DECODER, **QLORA)


def benchmark(name, left):
    """Measure the speed of the recipes, in one round."""
    parameters = {"model_name": str(WORK / WIDENED), "dataset_name": str(WORK / "emotion"), **GIVEN}
    command = [sys.executable, ROOT / "tests/measure/benchmark.py", "--rounds", "1"]
    found, _ = step(name, [*command, "--parameters", json.dumps(parameters)], left)
    if "error" in found:  # the file is the committed one, of another machine
        return found
    measured = json.loads((ROOT / "figures/benchmark-speed.json").read_text())
    return found | {key: measured[key] for key in ("rounds", "measured")}


def circumstances(name, left):
    """What benchmark.py finds out about the machine, in a process that then frees the GPU."""
    code = "import json, sys; sys.path.insert(0, sys.argv[1]); import benchmark\n"
    code += "print(json.dumps(benchmark.circumstances()))"
    found, output = step(name, [sys.executable, "-c", code, ROOT / "tests" / "measure"], left)
    lines = [line for line in output.splitlines() if line.startswith('{"machine"')]
    return json.loads(lines[0]) if lines else found


STEPS = {
    "machine": circumstances,
    "defaults": lambda *given: notebook(*given, WIDENED),
    "short": lambda *given: notebook(*given, WIDENED, **SHORT),
    "QLoRA": qlora,
    "benchmark": benchmark,
}


def main(path, start, seconds):
    """Run all steps, the one that is wanted most first."""
    found = {"versions": versions(), "replaced": GIVEN}
    print(json.dumps(found), flush=True)
    found["widening_gap"] = make_models()
    for name, function in STEPS.items():
        measured = function(name, start + ENDS[name] * seconds - time.time())
        found |= measured if name == "machine" else {name: measured}
        print(f"{name}: {json.dumps(measured)}", flush=True)
        path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
