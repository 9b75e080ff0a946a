#!/usr/bin/env bash
# GPU check 3: the paper's final net for 200 epochs, with the paper's recipe and with ours, seeds
# 0, 1 and 2; in pieces that resume. From the project's root on a machine with a GPU, after
# ../shared/gpu/pack.sh:
#
#   bash benchmarks/gpu/3.sh        # OUT is where the figures go; under 10 minutes a piece
#
# A checkpoint of this net has 60 MB, more than comes back: a run that is not done goes on while
# the machine is held, so call it again at once. What is done comes back and is not trained again.
set -euo pipefail
: "${OUT:?a folder for the figures}"
. .gpu/enter.sh

studies=/tmp/check-3
seconds=${LIMIT:-510}
mkdir -p "$studies"
[ ! -f .gpu/state-3.tar ] || tar -xkf .gpu/state-3.tar -C "$studies" || true # what is here is newer
data=(--dataset folder --data /tmp/cifar10 --studies "$studies" --resume)

for seed in 0 1 2; do
  for words in "reproduce final" "retrain --arch final --recipe modern"; do
    left=$((seconds - SECONDS))
    [ "$left" -gt 20 ] || break 2
    # shellcheck disable=SC2086 # the words are words
    timeout --signal=INT --kill-after=30 "$left" python3 cli.py $words --seed "$seed" "${data[@]}" || true
  done
done

python3 - "$studies" >"$OUT/3.json" <<'PYTHON'
import json, pathlib, sys

runs = sorted(pathlib.Path(sys.argv[1]).rglob("metrics.json"))
json.dump([{"folder": path.parent.name, **json.loads(path.read_text())} for path in runs], sys.stdout)
PYTHON
cd "$studies"
find . \( -name metrics.json -o -name 'curve.*' \) -print0 | tar -cf "$OUT/state-3.tar" --null -T -
