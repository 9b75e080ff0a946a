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
if [ ! -d "$studies" ]; then # once: what is here is newer than the tar, of either recipe
  mkdir -p "$studies"
  [ ! -f .gpu/state-2.tar ] || tar -xf .gpu/state-2.tar -C "$studies"
fi

keep() { # whatever ended the search: its trials are in the journal
  python3 cli.py status --studies "$studies" --study "$recipe" --format json >"$OUT/2-status-$recipe.json"
  python3 cli.py best --studies "$studies" --study "$recipe" --top 20 --format json >"$OUT/2-$recipe.json"
  tar -cf "$OUT/state-2.tar" -C "$studies" --exclude='*.pt' .
}
trap keep EXIT

# set-up and the last trial count too: all of it has to end within 10 minutes
timeout --signal=INT --kill-after=20 "$((550 - SECONDS))" \
  python3 cli.py search --budget 5e6 --trials 200 --dataset folder --data /tmp/cifar10 --recipe "$recipe" \
  --studies "$studies" --study "$recipe" --time-limit "${LIMIT:-$((480 - SECONDS))s}" 2>&1 | tee "$OUT/2-$recipe.txt"
