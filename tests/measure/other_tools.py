"""Let other tools classify with the model that a run has saved, and write what their users meet.

    python tests/measure/other_tools.py outputs
    python tests/measure/other_tools.py outputs --only onnx int8 javascript --json tools.json

Every tool gets a temporary virtual environment, in which its own packages come before those of the
environment that runs this script. It classifies texts of predictions.csv, and a text of 603 words;
the probabilities are compared with those of this environment's pipeline(). other_tools_readers.py
says how. JavaScript needs node and npm. All tools together take about 15 minutes.
"""

import argparse
import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from other_tools_readers import CUT, TOOLS, in_order

READERS = Path(__file__).with_name("other_tools_readers.py")
TEXTS, WORDS = 200, 603
OWN = {"pipeline": "transformers", "cross-encoder": "sentence-transformers"}  # of this environment
JAVASCRIPT = """
import { readFileSync, writeFileSync } from "fs";
import { env, pipeline } from "@huggingface/transformers";
const [parent, model, given, found] = process.argv.slice(2);
Object.assign(env, { allowRemoteModels: false, localModelPath: parent });
const classify = await pipeline("text-classification", model, { dtype: "fp32" });
const answer = {};
for (const [key, texts] of Object.entries(JSON.parse(readFileSync(given)))) {
  answer[key] = [];
  for (const text of texts) answer[key].push(await classify(text, { top_k: null }));
}
writeFileSync(found, JSON.stringify(answer));
"""


def interpreter(packages, folder):
    """Return the Python of a virtual environment that has these packages before ours."""
    if not packages:
        return sys.executable
    base = {"base": str(folder), "platbase": str(folder)}
    python = Path(sysconfig.get_path("scripts", "venv", base), "python")
    if not folder.exists():
        venv.create(folder, with_pip=True)
        ours = Path(sysconfig.get_path("purelib", "venv", base), "ours.pth")
        ours.write_text(sysconfig.get_path("purelib"))
        run([python, "-m", "pip", "install", "-q", *packages])
    return python


def run(command):
    """Run a command; RuntimeError with the first line that says error if it fails."""
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        lines = [line for line in finished.stderr.splitlines() if "error" in line.lower()]
        raise RuntimeError((lines or ["no message"])[0][:150])


def ask(name, work):
    """Return what a tool answers, or its error, from an environment of its own."""
    packages, found = TOOLS[name][1], work / "found.json"
    found.unlink(missing_ok=True)
    try:
        if name != "javascript":
            python = interpreter(packages, work / "-".join(["venv", *packages]).replace("=", ""))
            run([python, READERS, name, work])
            return json.loads(found.read_text())
        ask("onnx", work)  # leaves the file that JavaScript needs
        run(["npm", "install", "--ignore-scripts", "--prefix", work / "node", *packages])
        script = work / "node" / "classify.mjs"
        script.write_text(JAVASCRIPT)
        run(["node", script, work, "model", work / "given.json", found])
        answers = json.loads(found.read_text())
        return {key: in_order(each, work / "model").tolist() for key, each in answers.items()}
    except (RuntimeError, FileNotFoundError) as error:
        return {"texts": str(error), "long": ""}


def row(name, answers, expected, cuts):
    """Return a line of the table; cuts: tokens to probabilities of the long text cut there."""
    _, packages, advice = TOOLS[name]
    own = OWN.get(name, name)
    tool = packages[0].replace("==", " ") if packages else f"{own} {version(own)}"
    texts, long = answers["texts"], answers["long"]
    if not isinstance(texts, str):
        texts = f"{np.abs(np.subtract(texts, expected)).max():.1e}"
    if not isinstance(long, str):
        apart = {n: np.abs(np.subtract(long, each)).max() for n, each in cuts.items()}
        tokens = min(apart, key=apart.get)
        long = f"cut at {tokens} tokens, {apart[tokens]:.1e} apart"
    return f"| {tool} ({name}) | {texts} | {long} | {advice} |"


def in_words(measured):
    """Return what was measured with eight bits as a sentence."""
    accuracy, size, speed = (measured[k] for k in ("accuracy", "megabytes", "texts_per_second"))
    low, high = accuracy["change"]
    return (
        f"int8: {size['onnx']:.0f} MB become {size['int8']:.0f}; accuracy on {measured['texts']:,} "
        f"texts {accuracy['onnx']:.4f} becomes {accuracy['int8']:.4f}, a change of "
        f"[{low:+.4f}, {high:+.4f}]; {speed['int8']:.0f} texts/s one by one, onnxruntime in "
        f"float32 {speed['onnx']:.0f}, `pipeline()` {speed['pipeline']:.0f}."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outputs", type=Path, help="folder of a run")
    parser.add_argument("--only", nargs="+", choices=TOOLS, default=[*TOOLS], metavar="NAME")
    parser.add_argument("--json", type=Path, help="file for the answers")
    arguments = parser.parse_args()
    rows = pd.read_csv(arguments.outputs / "predictions.csv", dtype=str, keep_default_na=False)
    words = " ".join(rows["text"]).split()
    given = {"texts": [*rows["text"][:TEXTS]], "long": [" ".join((words * WORDS)[:WORDS])]}
    record = json.loads((arguments.outputs / "metrics.json").read_text())
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        shutil.copytree(arguments.outputs / "model", work / "model")
        shutil.copy(arguments.outputs / "predictions.csv", work)
        (work / "given.json").write_text(json.dumps(given))
        expected = CUT(work / "model", given["texts"])
        lengths = [record["parameters"]["max_length"], 512]
        cuts = {n: CUT(work / "model", given["long"], max_length=n) for n in lengths}
        print("| tool | largest difference | a text of 603 words | what to do |")
        print("| --- | --- | --- | --- |")
        answers = {}
        for name in arguments.only:
            answers[name] = ask(name, work)
            print(row(name, answers[name], expected, cuts), flush=True)
    if measured := answers.get("int8", {}).get("measured"):
        print(f"\n{in_words(measured)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(answers, indent=1))


if __name__ == "__main__":
    main()
