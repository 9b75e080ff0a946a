import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.device import choose_device, is_out_of_memory
from nas.errors import UsageError
from tests.small_training import CPU

ROOT = Path(__file__).parents[1]


def test_global_state_is_put_back():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    threads = torch.get_num_threads()
    with replace(CPU, num_threads=2).applied():
        assert torch.get_num_threads() == 2
        CPU.seed_generators(1)
        torch.rand(5)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(3), expected)


def test_autocast_is_on_where_asked_for():
    a = torch.ones(2, 2)
    for precision, dtype in [
        ("auto", torch.float32),
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
    ]:
        with CPU.autocast(precision):
            assert (a @ a).dtype == dtype


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:", "cpu:0", ""])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(UsageError, match="auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_an_absent_gpu_is_refused():
    with pytest.raises(UsageError, match="needs a GPU"):
        choose_device("cuda:99")


def test_a_known_device_is_taken():
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


def test_pytorch_out_of_memory_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_freed_memory_is_kept_and_needs_no_new_pages():
    code = """
import resource, sys, torch
from dataclasses import replace
from nas.device import Engine, keep_freed_memory
engine = Engine("cpu", 1, keep_memory=sys.argv[1] == "keep")
with engine.applied():
    for step in range(20):
        if step == 5:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for tensor in [torch.zeros(12 * 2**20) for _ in range(2)]:  # 48 MiB each
            tensor += 1
        del tensor
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    kept, given_back = (
        int(
            subprocess.run(
                [sys.executable, "-c", code, word],
                cwd=ROOT,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for word in ("keep", "give back")
    )
    assert kept < 1_000 < given_back  # 15 steps of 24,576 pages
