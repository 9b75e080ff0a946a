"""The paper's parameter count decides what its text leaves open."""

from dataclasses import replace

import pytest

from benchmarks.paper_variants import PRINTED, Variant, variants
from nas.network.complexity import count
from nas.network.presets import resolve_architecture

READING = Variant(
    stem_kernel=5,
    stem_bias=False,
    conv_bias=False,
    projects_always=False,
    shortcut_norm=False,
    shortcut_bias=False,
    inner=4,
    linear_bias=True,
)


def test_exactly_one_reading_of_the_paper_has_its_parameter_count():
    assert [found for found in variants() if found.num_params() == PRINTED] == [READING]


@pytest.mark.parametrize(("stem", "kernel"), [("conv3x3", 3), ("conv5x5", 5), ("imagenet", 7)])
def test_the_tool_counts_that_reading_at_every_stem(stem, kernel):
    reading = replace(READING, stem_kernel=kernel)
    assert count(resolve_architecture("final", stem)).num_params == reading.num_params()
