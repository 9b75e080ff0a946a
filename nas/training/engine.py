"""What a training runs on and the tricks that make it fast; none is meant to change a result."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from nas.errors import UsageError
from nas.units import plural

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# NOTE: oneDNN's "could not create a primitive" is left out on purpose. Measured under RLIMIT_AS:
# after it no convolution of the process works again, limit lifted or not, so it is a failure of
# the process and no property of the network.
_MEMORY_MESSAGES = ("can't allocate memory", "out of memory")
# cuDNN and cuBLAS call it by these names where there is no room for a workspace or a handle
_CUDA_MEMORY_MESSAGES = ("nable to find an engine", "STATUS_ALLOC_FAILED", "ALLOCATION_FAILED")
_NOT_INITIALIZED = "STATUS_NOT_INITIALIZED"  # so is a broken installation, before any allocation

GRAPHS_VARIABLE = "NAS_CUDA_GRAPHS"  # 0 in the environment turns CUDA graphs off


@dataclass(frozen=True, slots=True)
class Engine:
    """The device and the tricks; each can be turned off, which is how their worth is measured.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``; see `choose_device`.
        num_threads: CPU threads; None leaves PyTorch's number. Sums in floating point depend on
            it, so a study chooses once.
        channels_last: Keep images and weights in memory as (N, H, W, C).
        fused_optimizer: Update all weights in one kernel.
        cuda_graph: Capture the whole step on CUDA and replay it; False by default where
            `GRAPHS_VARIABLE` is 0.
        compile: Compile the network's forward and backward; pays off in long trainings only.
        bfloat16: What the recipe's precision `auto` means; None is bfloat16 on CUDA and float32
            elsewhere. See `nas.training.timing.choose_bfloat16`.
    """

    device: str = "cpu"
    num_threads: int | None = None
    channels_last: bool = True
    fused_optimizer: bool = True
    cuda_graph: bool = field(default_factory=lambda: os.environ.get(GRAPHS_VARIABLE) != "0")
    compile: bool = False
    bfloat16: bool | None = None

    @property
    def is_cuda(self) -> bool:
        """Tell whether the device is a CUDA GPU."""
        return torch.device(self.device).type == "cuda"

    @property
    def prefers_bfloat16(self) -> bool:
        """Tell what the recipe's precision `auto` means here."""
        return self.is_cuda if self.bfloat16 is None else self.bfloat16

    @property
    def memory_format(self) -> torch.memory_format:
        """Return the layout of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, precision: str) -> AbstractContextManager[Any]:
        """Return the context that forward passes run in.

        Args:
            precision: ``float32``, ``bfloat16``, or ``auto``: what `bfloat16` says.
        """
        if precision == "bfloat16" or (precision == "auto" and self.prefers_bfloat16):
            return torch.autocast(torch.device(self.device).type, torch.bfloat16)
        return nullcontext()

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Use this engine's device and threads; leave PyTorch's global state as it was found.

        The random generators are put back too: a training neither reads nor moves them.
        Convolutions in float32 are float32: cuDNN would take them in TF32, with 10 bits of
        mantissa.
        """
        num_threads = torch.get_num_threads()
        torch.set_num_threads(self.num_threads or num_threads)
        devices = [torch.device(self.device)] if self.is_cuda else []
        try:
            with torch.random.fork_rng(devices), self._current_device(), tf32(False):
                yield
        finally:
            torch.set_num_threads(num_threads)

    def seed_generators(self, seed: int) -> None:
        """Seed PyTorch's global generators of the CPU and of this device; inside `applied`."""
        torch.default_generator.manual_seed(seed)
        if self.is_cuda:
            torch.cuda.manual_seed(seed)

    def _current_device(self) -> AbstractContextManager[Any]:
        return torch.cuda.device(self.device) if self.is_cuda else nullcontext()


@contextmanager
def tf32(is_allowed: bool) -> Iterator[None]:
    """Say whether cuDNN may take convolutions of float32 in TF32; put its setting back."""
    was_allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = is_allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = was_allowed


def choose_device(name: str = "auto") -> str:
    """Return the device to train on.

    Args:
        name: ``auto`` (a GPU where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: The name is no such device, or the machine has none of it.
    """
    num_gpus = torch.cuda.device_count()
    if name == "auto":
        return "cuda" if num_gpus else "cpu"
    kind, _, index = name.partition(":")
    if kind == "cpu" and not index:
        return name
    if kind != "cuda" or (":" in name and not index.isdecimal()):
        raise UsageError(f"a device is auto, cpu, cuda or cuda:N, but got {name!r}")
    if int(index or 0) >= num_gpus:
        raise UsageError(f"device {name!r} needs a GPU, but PyTorch sees {num_gpus}; use cpu")
    return name


def hardware(engine: Engine) -> str:
    """Return the name of the device, with the threads where it is a CPU."""
    if engine.is_cuda:
        return torch.cuda.get_device_name(engine.device)
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    threads = engine.num_threads or torch.get_num_threads()
    return f"{models[0] if models else name}, {plural(threads, 'thread')}"


def now_of(engine: Engine) -> float:
    """Return the time at which all work so far is done; waits for the device."""
    if engine.is_cuda:
        torch.cuda.synchronize()  # sync
    return time.perf_counter()


def free_memory(device: str) -> None:
    """Give back what the last candidate held on the device.

    On a CPU nothing refers to a network once its training has ended; a collection would look at
    all objects of all libraries, which takes as long as a short trial.
    """
    if torch.device(device).type == "cuda":
        gc.collect()  # a network and its graph refer to each other
        torch.cuda.empty_cache()
    elif sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # glibc keeps the holes between the tensors of many shapes


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that the device or the host has no memory left.

    An error that was raised while an earlier one was being handled, as by a library's clean-up, is
    judged by the earlier one too.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    if not isinstance(error, RuntimeError):
        return False
    messages = [*_MEMORY_MESSAGES, *_CUDA_MEMORY_MESSAGES]
    if torch.cuda.is_initialized() and torch.cuda.memory_allocated():
        messages.append(_NOT_INITIALIZED)
    if any(text in str(error) for text in messages):
        return True
    return error.__context__ is not None and is_out_of_memory(error.__context__)


def is_device_error(error: BaseException) -> bool:
    """Tell whether an error is the GPU's: its process computes no more, whatever network comes."""
    is_told = any(text in str(error) for text in ("CUDA error", "HIP error"))
    return isinstance(error, RuntimeError) and is_told  # torch.AcceleratorError is one too


class NoRoomError(MemoryError):
    """Not even the smallest piece fits in memory; the text is what the last failure said.

    Args:
        message: The first line of the failure.
        size: Images of the piece.
    """

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size

    @property
    def reason(self) -> str:
        """Return why, in one sentence."""
        return f"out of memory at {plural(self.size, 'image')} a forward pass: {self}"


def halving(
    attempt: Callable[[int], Result],
    size: int,
    smallest: int,
    device: str,
    level: int = logging.DEBUG,
) -> Result:
    """Return what an attempt with pieces of `size` images returns, halved until it fits in memory.

    Args:
        attempt: Called with the size; begins anew each time.
        size: Images of the first attempt's pieces, at least 1.
        smallest: No attempt after the first has fewer.
        device: Whose memory is freed in between.
        level: Of the log's line about each halving.

    Raises:
        NoRoomError: The last attempt did not fit either.
    """
    while True:
        try:
            return attempt(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failure = NoRoomError(str(error).partition("\n")[0], size)
        free_memory(device)  # not earlier: the error's traceback holds the tensors
        if size // 2 < smallest:
            try:
                raise failure
            finally:
                del failure  # else its traceback keeps this frame, and with it the tensors
        logger.log(level, "%s; starting again with %d", failure.reason, size // 2)
        size //= 2
