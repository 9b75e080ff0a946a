from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.errors import UsageError
from nas.training.engine import GRAPHS_VARIABLE, Engine, choose_device, is_out_of_memory, tf32
from tests.support.small_training import CPU

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize(
    "text",
    [
        "GET was unable to find an engine to execute this computation",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_what_cudnn_and_cublas_say_where_there_is_no_room_is_out_of_memory(text):
    assert is_out_of_memory(RuntimeError(text))


def test_a_library_that_is_not_initialised_lacks_memory_only_after_an_allocation(monkeypatch):
    error = RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`")
    assert not is_out_of_memory(error)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    for allocated, expected in ((0, False), (1, True)):
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda allocated=allocated: allocated)
        assert is_out_of_memory(error) == expected


def test_an_error_raised_while_another_was_on_its_way_is_judged_by_that():
    def fail(first):
        try:
            raise first
        finally:
            raise RuntimeError("clean-up failed")

    for first, expected in ((torch.OutOfMemoryError("no room"), True), (ValueError("x"), False)):
        with pytest.raises(RuntimeError, match="clean-up") as caught:
            fail(first)
        assert is_out_of_memory(caught.value) == expected


def test_float32_is_not_tf32_within_an_engine():
    assert torch.backends.cudnn.allow_tf32
    with CPU.applied():
        assert not torch.backends.cudnn.allow_tf32
        with tf32(True):
            assert torch.backends.cudnn.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_graphs_are_off_where_the_environment_says_so(monkeypatch):
    assert Engine().cuda_graph
    monkeypatch.setenv(GRAPHS_VARIABLE, "0")
    assert not Engine().cuda_graph
