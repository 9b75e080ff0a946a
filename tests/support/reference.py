"""Independent sources of expected values: PyTorch's own counts, and architectures at random."""

import random
from typing import NamedTuple
from unittest import mock

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import ArchitectureError
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.blocks import BLOCKS, block_layers
from nas.network.model import build_model

WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def _has_form(kind: str, kernel: int) -> bool:
    try:
        block_layers(kind, 8, 8, 1, kernel, 0.0)
    except ArchitectureError:
        return False
    return True


# every block kind with every kernel it has a form for
LAWFUL_KERNELS = tuple((k, n) for k in BLOCKS for n in (2, 3, 5) if _has_form(k, n))


class TorchCount(NamedTuple):
    """What PyTorch counts of a built network; the dicts are keyed by module path."""

    num_params: int
    macs: int
    activations: int
    params_by_module: dict[str, int]
    macs_by_module: dict[str, int]
    size_by_module: dict[str, int]


def _norm(x, mean, *_):
    """A norm as a counter sees it: it fits the map's width and changes no size."""
    assert x.shape[1:2] == mean.shape
    return x


def count_with_torch(architecture: Architecture, input_spec: InputSpec) -> TorchCount:
    """Build on the meta device, run one image, and let PyTorch count."""
    activations, sizes = [], {}

    def record(name, module, output):
        sizes[name] = output.shape[-1] if output.dim() == 4 else 1
        if isinstance(module, nn.Conv2d):
            activations.append(output.numel())

    # on the meta device PyTorch draws weights and takes norms apart in Python: most of the time
    drawing = mock.patch.object(nn.init, "kaiming_normal_")
    with torch.device("meta"), torch.no_grad(), drawing:
        model = build_model(architecture, input_spec).eval()
        for name, module in model.named_modules():
            module.register_forward_hook(lambda m, _, output, name=name: record(name, m, output))
        side = input_spec.image_size
        norms = mock.patch.object(F, "batch_norm", _norm)
        with norms, FlopCounterMode(display=False) as counter:
            model(torch.empty(1, input_spec.channels, side, side))
    flops = {
        name.removeprefix(f"{type(model).__name__}."): sum(by_operation.values())
        for name, by_operation in counter.get_flop_counts().items()
    }
    return TorchCount(
        sum(parameter.numel() for parameter in model.parameters()),
        counter.get_total_flops() // 2,
        sum(activations),
        {n: sum(p.numel() for p in m.parameters()) for n, m in model.named_modules()},
        {name: value // 2 for name, value in flops.items()},
        sizes,
    )


def random_architecture(rng: random.Random, even_maps: bool, max_depth: int = 4) -> Architecture:
    """Draw any architecture the records can describe; kernel 2 in stage 1 of even maps alone."""
    stages = []
    for index in range(rng.randint(1, 6)):
        kernels = [row for row in LAWFUL_KERNELS if row[1] != 2 or (even_maps and index == 0)]
        kind, kernel = rng.choice(kernels)
        stride = 1 if kernel == 2 else rng.choice((1, 2))
        dropout = rng.choice((0.0, 0.1, 0.3))
        depth = rng.randint(1, max_depth)
        stages.append(Stage(kind, depth, rng.choice(WIDTHS), stride, kernel, dropout))
    stem_kind = "conv3x3" if even_maps else rng.choice(("conv3x3", "conv5x5", "imagenet"))
    return Architecture(Stem(stem_kind, rng.choice(WIDTHS)), tuple(stages))


def stages(strides: tuple[int, ...] = (1, 2)) -> st.SearchStrategy[Stage]:
    """Stages with any lawful values."""
    return st.builds(
        lambda kind_kernel, depth, quarter, stride, dropout: Stage(
            kind_kernel[0], depth, 4 * quarter, stride, kind_kernel[1], dropout
        ),
        st.sampled_from(LAWFUL_KERNELS),
        st.integers(1, 30),
        st.integers(1, 256),
        st.sampled_from(strides),
        st.one_of(st.just(0.0), st.floats(0.0, 1.0, exclude_max=True)),
    )


def architectures() -> st.SearchStrategy[Architecture]:
    """Architectures with any lawful values; not every one fits every image size."""
    stem = st.builds(
        Stem, st.sampled_from(("conv3x3", "conv5x5", "imagenet")), st.integers(1, 512)
    )
    return st.builds(Architecture, stem, st.lists(stages(), min_size=1, max_size=6).map(tuple))
