"""Independent random streams from one seed.

Every random choice of a training has a stream of its own, named by what it is for and by the
epoch. So weights do not depend on the order of the data, nothing depends on how much another part
has drawn, and seed and epoch are all that a resumed training needs. NumPy's `SeedSequence` is not
used: it takes numbers, and streams here have names.
"""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *path: str | int) -> int:
    """Return the seed of the stream that `path` names, in [0, 2^63).

    Equal arguments give equal seeds on every machine and in every process; any difference gives
    an unrelated one.

    Args:
        seed: The seed of the whole.
        path: What the stream is for, for example ``("dropout", epoch)``.
    """
    text = repr((int(seed), *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
