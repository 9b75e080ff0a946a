#!/usr/bin/env bash
# GPU check 1: the engine against the plain loop, and what each trick is worth; several trainings
# at once. From the project's root on a machine with a GPU, after ../shared/gpu/pack.sh:
#
#   bash benchmarks/gpu/1.sh        # OUT is where the figures go; under 10 minutes
set -euo pipefail
: "${OUT:?a folder for the figures}"
. .gpu/enter.sh

timeout 240 python3 cli.py bench final resnet20 basic-443 --format json >"$OUT/1.json"

search=(search --budget 5e6 --dataset folder --data /tmp/cifar10 --no-known --epochs 3 --trials 8 --seed 1)
for workers in 1 2 4; do
  started=$(date +%s)
  timeout 110 python3 cli.py "${search[@]}" --workers "$workers" --studies "/tmp/workers-$workers" \
    >"$OUT/1-workers-$workers.txt" 2>&1 || true # the figure is what was trained until then
  python3 cli.py status --studies "/tmp/workers-$workers" --format json >"$OUT/1-workers-$workers.json"
  echo "$workers workers: $(($(date +%s) - started)) s" | tee -a "$OUT/1-workers.txt"
done
