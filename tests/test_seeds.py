import math
import subprocess
import sys

from nas.seeds import derive_seed


def test_streams_differ_and_repeat():
    paths = [
        (seed, name, epoch)
        for seed in range(20)
        for name in ("weights", "dropout", "mixing")
        for epoch in range(20)
    ]
    seeds = [derive_seed(*path) for path in paths]
    assert len(set(seeds)) == len(paths)
    assert seeds == [derive_seed(*path) for path in paths]
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_another_process_derives_the_same():
    code = "from nas.seeds import derive_seed; print(derive_seed(3, 'dropout', 7))"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert int(printed) == derive_seed(3, "dropout", 7)


def test_bits_of_near_seeds_are_balanced():
    ones = sum(derive_seed(0, "weights", i).bit_count() for i in range(1000))
    assert abs(ones - 31_500) < 5 * math.sqrt(63_000 / 4)  # binomial, five deviations
