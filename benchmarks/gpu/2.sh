#!/usr/bin/env bash
# GPU check 2: the search that the README begins with, on all of CIFAR-10; in pieces that resume.
# From the project's root on a machine with a GPU, after ../shared/gpu/pack.sh:
#
#   bash benchmarks/gpu/2.sh        # OUT is where figures and state go; under 10 minutes a piece
#   RECIPE=paper bash benchmarks/gpu/2.sh
set -euo pipefail
: "${OUT:?a folder for the figures}"
. .gpu/enter.sh

recipe=${RECIPE:-short}
studies=/tmp/check-2
mkdir -p "$studies"
if [ -f .gpu/state-2.tar ] && [ ! -d "$studies/$recipe" ]; then tar -xf .gpu/state-2.tar -C "$studies"; fi

python3 cli.py search --budget 5e6 --trials 200 --dataset folder --data /tmp/cifar10 --recipe "$recipe" \
  --studies "$studies" --study "$recipe" --time-limit "${LIMIT:-8m}" 2>&1 | tee "$OUT/2-$recipe.txt"
python3 cli.py status --studies "$studies" --study "$recipe" --format json >"$OUT/2-status-$recipe.json"
python3 cli.py best --studies "$studies" --study "$recipe" --top 20 --format json >"$OUT/2.json"
tar -cf "$OUT/state-2.tar" -C "$studies" --exclude='*.pt' .
