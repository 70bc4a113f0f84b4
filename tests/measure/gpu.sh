#!/usr/bin/env bash
# Measure the notebook on a machine with an NVIDIA GPU and without a network.
#
#     bash tests/measure/gpu.sh pack FILE.tar             # where the Hub and PyPI can be reached
#     bash tests/measure/gpu.sh run FILE.tar RESULT.json  # on the GPU machine
#
# pack: the last commit, weights, data and wheels, compressed, in at most 64 MiB. GPU_PYTHON names
# the Python versions that the wheels are for ("3.11 3.12"); else it is the packing machine's.
# run: at most GPU_MINUTES (8). The machine needs python3 with pip and what gpu_pack.py calls ASSUMED.
# GPU_RUN_PARAMETERS='{"max_train_samples": 200}' replaces parameters of all runs, to try it out.
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pack() {
    git -C "$here" diff --quiet HEAD || echo "Changes that are not committed are left out."
    mkdir "$work/project"
    git -C "$here" archive HEAD | tar -x -C "$work/project"
    git -C "$here" rev-parse HEAD >"$work/commit"
    python "$here/tests/measure/gpu_pack.py" "$work"
    tar -C "$work" -cJf "$1" .
    local bytes limit=$((64 * 1024 * 1024))
    bytes=$(wc -c <"$1")
    echo "$1: $bytes bytes of at most $limit"
    if ((bytes > limit)); then
        (cd "$work" && find . -type f -size +500k -exec du -k {} + | sort -rn) >&2
        rm "$1"
        echo "The pack is too large, so it is deleted. Its largest files, in KiB, are above." >&2
        exit 1
    fi
}

run() {
    local seconds=$((60 * ${GPU_MINUTES:-8})) started environment=$work/environment
    started=$(date +%s)
    python3 -VV
    python3 -m pip list --format=freeze | tr '\n' ' '
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || echo "No nvidia-smi."
    python3 -m tarfile -e "$1" "$work"
    python3 -m venv --system-site-packages --without-pip "$environment"
    # If python3 is itself of a virtual environment, the new one would not see what that has.
    local ask="import sys; print(*[p for p in sys.path if p.endswith('-packages')], sep='\n')"
    python3 -c "$ask" >"$(echo "$environment"/lib/python3*/site-packages)/parent.pth"
    source "$environment/bin/activate"
    cd "$work"
    local needed
    readarray -t needed < <(python project/tests/measure/gpu_pack.py requirements)
    # Keeps what is installed and new enough.
    timeout $((seconds / 6)) python -m pip install --quiet --no-compile --no-index \
        --find-links wheels "${needed[@]}"
    python -m ipykernel install --sys-prefix >/dev/null # goes before a kernel of the user's
    python project/tests/measure/gpu_run.py "$2" "$started" "$seconds"
}

case "${1:-} $#" in
    "pack 2") pack "$(realpath "$2")" ;;
    "run 3") run "$(realpath "$2")" "$(realpath "$3")" ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
