#!/usr/bin/env bash
# Gather in .gpu, which git ignores, what a GPU machine without a network lacks: wheels (CPython
# 3.12, x86-64) of the versions in constraints.txt, and CIFAR-10.
#
#   bash benchmarks/gpu/pack.sh [DATA]     # DATA: the shared data's folder (../shared/data)
#
# Then, on the machine, with .gpu carried along: bash benchmarks/gpu/visit.sh first
#
# PyTorch, torchvision, numpy, rich, scikit-learn, matplotlib and safetensors are at hand there.
# What else nas imports is named below, each by itself: no dependencies are followed.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=${1:-../shared/data}
packages=(optuna alembic SQLAlchemy colorlog Mako MarkupSafe PyYAML packaging tqdm psutil)
rm -rf .gpu
mkdir -p .gpu/wheels .gpu/data
"${PYTHON:-python3}" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 \
  --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
  --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  --platform manylinux1_x86_64 -c constraints.txt -d .gpu/wheels "${packages[@]}"
cp "$data/cifar10-jpeg.npz" "$data/unpack_cifar10.py" .gpu/data/
du -sh .gpu
