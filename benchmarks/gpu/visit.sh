#!/usr/bin/env bash
# One visit of 15 minutes to a GPU machine, in two commands. Nothing dies at the first failure.
#
#   bash benchmarks/gpu/visit.sh first     within 595 s: smoke test, bench, a search, the paper's net
#   bash benchmarks/gpu/visit.sh second    within 190 s, at once: the winner of the search
#
# A third, for a visit of its own, once the smoke test has passed:
#
#   bash benchmarks/gpu/visit.sh fidelity  within 310 s: do short trainings rank as long ones do?
#
# benchmarks/gpu/pack.sh has filled .gpu before. OUT is the folder whose files come back (at most
# 8 of 16 MiB); EPOCHS sets the epochs of the two full trainings (100).
#
# REHEARSAL=1 runs every part small on a CPU, with PYTHON and without .gpu, on the image folder
# NAS_TEST_DATA or on noise. There ONLY names the checks of the smoke test, FAIL a part that hangs,
# deaf to SIGINT and with a child, until it is killed, and PATIENCE multiplies the seconds of every
# part, for a machine with other work.
set -u # no -e: a part that fails leaves the others their seconds
cd "$(dirname "$0")/../.." || exit
: "${OUT:?a folder for the records}"
work=${WORK:-/tmp/visit} python=${PYTHON:-python3}
studies=$work/studies logs=$work/logs
mkdir -p "$OUT" "$studies" "$logs"
export NAS_CACHE=$work/cache PYTHONUNBUFFERED=1
unset NAS_STORAGE

# seconds of each part: SIGINT comes `grace` before they are over, SIGKILL when they are. The
# paper's net gets what the parts before it left of `total`.
grace=8
if [ -z "${REHEARSAL:-}" ]; then
  declare -A seconds=([enter]=40 [images]=60 [smoke]=95 [bench]=65 [search]=275 [winner]=180 [fidelity]=200)
  total=565 # a record that is kept may take 20 s more
  device=cuda images=$work/cifar10 epochs=${EPOCHS:-100} size=()
  bench=(final basic-443 resnet20) search=(--budget 5e6 --trials 60 --epochs 3 --rungs none --time-limit 250s)
  fidelity=(--max-params 5000000 --networks 8 --plans 45000x3@256 --long 45000x10@512)
  card=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>&1)
  export PYTHONPATH=$work/site
else
  patience=${PATIENCE:-1}
  declare -A seconds=([images]=$((40 * patience)) [smoke]=$((80 * patience))
    [bench]=$((70 * patience)) [search]=$((75 * patience)) [winner]=$((80 * patience))
    [fidelity]=$((80 * patience)))
  total=$((280 * patience))
  device=cpu images=${NAS_TEST_DATA:-$work/noise} epochs=1 size=(--image-size 8)
  bench=("[[Basic,1,16],[Basic,1,32]]" --batch 2)
  search=(--budget 300k --trials 2 --epochs 1 --time-limit $((50 * patience))s)
  fidelity=(--max-params 20000 --networks 2 --plans 32x1@16 --long 32x2@16)
  card=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
  export OMP_NUM_THREADS=1 # threads that wait for one another crawl on a machine with other work
  [ -z "${FAIL:-}" ] || seconds[$FAIL]=$((grace + 3))
fi
data=(--dataset folder --data "$images" "${size[@]}" --device "$device")
full=(--epochs "$epochs" --studies "$studies" --resume)
hang='trap "" INT; sleep 600 & wait; sleep 600'

stop() { # the groups of the parts that run, and the shell of the part beside
  for job in $(jobs -p); do kill -KILL -- "-$job" || kill "$job"; done 2>/dev/null
  exit 130
}

part() { # NAME COMMAND...: in a session of its own; nothing of it outlives its seconds
  local name=$1 limit=${seconds[$1]} began=$SECONDS code group ending
  shift
  trap stop INT TERM HUP # here, for a subshell does not inherit it
  [ "$name" != "${FAIL:-}" ] || set -- bash -c "$hang"
  # env: a shell that was started in the background ignores SIGINT, and so would the command
  setsid env --default-signal=INT timeout --foreground --signal=INT --kill-after=$grace \
    $((limit > grace ? limit - grace : 1)) "$@" >"$logs/$name.txt" 2>&1 </dev/null &
  group=$!
  wait "$group"
  code=$?
  kill -KILL -- "-$group" 2>/dev/null # workers that it left
  case $code in
  0) ending=ok ;;
  124) ending="ended at its limit" ;;
  *) ending="FAILED with exit code $code" ;;
  esac
  printf '%3d to %3d s  %-6s  %s\n' "$began" "$SECONDS" "$name" "$ending" | tee -a "$OUT/times.txt"
  tail -n 12 "$logs/$name.txt"
  return $code
}

keep() { # all that is known, without weights; renamed when whole
  local status=()
  if [ -f "$studies/gpu/study.json" ]; then
    timeout $((20 * ${patience:-1})) "$python" cli.py status --studies "$studies" --study gpu --format json \
      >"$logs/status.json" 2>"$logs/status.txt" && status=(--search "$logs/status.json")
  fi
  timeout $((20 * ${patience:-1})) "$python" -m benchmarks.gpu.records "$studies" --hardware "$card" "${status[@]}" \
    >"$logs/trainings.json" 2>"$logs/records.txt" && cp "$logs/trainings.json" "$OUT/"
  tar -cf "$logs.tar" -C "$work" --exclude='*.pt' --exclude='*.tmp' --exclude='*.safetensors' studies logs 2>/dev/null
  mv "$logs.tar" "$OUT/state.tar"
}

enter() { # what a bare machine lacks: packages, images, which are decoded beside the next part
  if [ -z "${REHEARSAL:-}" ]; then
    nvidia-smi >"$logs/nvidia-smi.txt" 2>&1
    part enter "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir \
      --upgrade --target "$work/site" .gpu/wheels/*.whl
    part images bash -c '[ -d "$1/test" ] || "$0" .gpu/data/unpack_cifar10.py "$1" &&
      "$0" -m benchmarks.gpu.images "$1"' "$python" "$images" & # beside the smoke test
  else
    part images "$python" -m benchmarks.gpu.images "$images" "${size[@]}" &
  fi
}

echo "$card, torch $("$python" -c 'import importlib.metadata as m; print(m.version("torch"))')" |
  tee -a "$OUT/times.txt"
case ${1:?first, second or fidelity} in
first)
  enter
  part smoke "$python" -m benchmarks.gpu.smoke --out "$OUT/smoke.json" --device "$device" \
    --seconds $((seconds[smoke] - grace - 2)) ${ONLY:+--only "$ONLY"}
  wait
  keep
  if [ ! -f "$OUT/smoke.sound" ]; then # it failed, hung or died in a decisive check
    echo "a decisive check failed: hand the machine back, mend, come back" | tee -a "$OUT/times.txt"
    exit 3
  fi
  if ! "$python" -c 'import optuna, psutil'; then
    echo "packages are absent: see logs/enter.txt" | tee -a "$OUT/times.txt"
    exit 1
  fi
  part bench "$python" cli.py bench "${bench[@]}" --quick --device "$device" --format json \
    --out "$OUT/bench.json"
  keep
  part search "$python" cli.py search "${search[@]}" "${data[@]}" --workers 2 \
    --studies "$studies" --study gpu
  keep
  seconds[paper]=${seconds[paper]:-$((total - SECONDS))}
  part paper "$python" cli.py reproduce final "${data[@]}" "${full[@]}"
  keep
  ;;
second)
  part winner "$python" cli.py retrain --best --study gpu --recipe modern --device "$device" \
    "${full[@]}"
  keep
  ;;
fidelity)
  enter
  wait
  part fidelity "$python" benchmarks/fidelity.py "$OUT/fidelity.json" --data "$images" \
    "${size[@]}" --device "$device" --workers 1 --seeds 1 "${fidelity[@]}"
  cp "$logs"/*.txt "$OUT/"
  ;;
esac
exit 0
