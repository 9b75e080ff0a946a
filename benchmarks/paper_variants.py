"""Which network has the paper's 4,997,194 parameters: all readings of its text, counted.

    python benchmarks/paper_variants.py

The paper leaves open stem, biases, shortcuts and the bottleneck's inner width. Every combination
is counted by sums written out here, not by the tool's own counter, and those that give the printed
number are listed. Takes well under a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

PRINTED = 4_997_194
STEM_WIDTH, NUM_CLASSES = 64, 10
STAGES = ((3, 64, False), (5, 128, False), (26, 256, True), (5, 512, True))  # blocks, width, kind


@dataclass(frozen=True)
class Variant:
    """One reading of the text.

    Args:
        stem_kernel: Of the stem's convolution.
        stem_bias: Whether it has one.
        conv_bias: Whether the blocks' convolutions have one.
        projects_always: A convolution in the shortcut of every stage's first block, or only where
            the width changes.
        shortcut_norm: Whether that is followed by batch normalisation.
        shortcut_bias: Whether it has a bias.
        inner: Width of a bottleneck over its inner width.
        linear_bias: Whether the classifier has one.
    """

    stem_kernel: int
    stem_bias: bool
    conv_bias: bool
    projects_always: bool
    shortcut_norm: bool
    shortcut_bias: bool
    inner: int
    linear_bias: bool

    def num_params(self) -> int:
        """Return the weights of the network."""
        total = _conv(3, STEM_WIDTH, self.stem_kernel, self.stem_bias) + 2 * STEM_WIDTH
        w_in = STEM_WIDTH
        for stage in STAGES:
            total += self._stage(w_in, *stage)
            w_in = stage[1]
        return total + w_in * NUM_CLASSES + NUM_CLASSES * self.linear_bias

    def _stage(self, w_in: int, depth: int, width: int, is_bottleneck: bool) -> int:
        total = 0
        for index in range(depth):
            total += self._block(w_in, width, is_bottleneck)
            if index == 0 and (self.projects_always or w_in != width):
                total += _conv(w_in, width, 1, self.shortcut_bias) + 2 * width * self.shortcut_norm
            w_in = width
        return total

    def _block(self, w_in: int, width: int, is_bottleneck: bool) -> int:
        hidden = width // self.inner
        basic = ((w_in, width, 3), (width, width, 3))
        narrow = ((w_in, hidden, 1), (hidden, hidden, 3), (hidden, width, 1))
        convs = narrow if is_bottleneck else basic
        return sum(_conv(*shape, self.conv_bias) + 2 * shape[1] for shape in convs)


def main() -> None:
    """Count every reading and list those that have the printed number."""
    found = list(variants())
    matches = [variant for variant in found if variant.num_params() == PRINTED]
    print(f"{len(found)} readings, {len(matches)} with {PRINTED:,} parameters")
    for variant in matches:
        print(variant)
        for name, other in neighbours(variant):
            print(f"  {name}: {other.num_params():,}")


def variants() -> Iterator[Variant]:
    """Yield every reading."""
    for stem_kernel, inner in product((3, 5, 7), (2, 4, 8)):
        for stem, conv, always, norm, shortcut, linear in product((False, True), repeat=6):
            yield Variant(stem_kernel, stem, conv, always, norm, shortcut, inner, linear)


def neighbours(variant: Variant) -> Iterator[tuple[str, Variant]]:
    """Yield the readings that differ in one thing."""
    names = list(Variant.__dataclass_fields__)
    for other in variants():
        changed = [name for name in names if getattr(other, name) != getattr(variant, name)]
        if len(changed) == 1:
            yield f"{changed[0]}={getattr(other, changed[0])}", other


def _conv(w_in: int, w_out: int, kernel: int, bias: bool) -> int:
    return w_in * w_out * kernel**2 + w_out * bias


if __name__ == "__main__":
    main()
