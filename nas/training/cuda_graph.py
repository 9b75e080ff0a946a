"""A whole training step as one CUDA graph: launched once instead of a thousand kernels.

At 32x32 pixels a small net's step is bound by kernel launches. Capture needs no compilation. The
first steps run as they are, on a side stream, and count as training; then the step is captured
and replayed.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from nas.errors import BrokenCaptureError
from nas.training.engine import GRAPHS_VARIABLE, Engine, is_out_of_memory
from nas.training.optimizer import is_capturable
from nas.training.recipe import Recipe
from nas.training.step import Step

logger = logging.getLogger(__name__)

WARMUP_STEPS = 3  # lazily made state (momenta, workspaces, autotuning) exists after these

Launch = Callable[[], None]


def with_graph(step: Step, engine: Engine, recipe: Recipe) -> Step:
    """Return the step, captured where the engine says so and device and recipe allow it."""
    if engine.cuda_graph and is_capturable(recipe, engine):
        side = SideStream()
        return GraphedStep(step, side.run, side.capture)
    return step


class GraphedStep:
    """Run a step as it is `WARMUP_STEPS` times, then capture it and replay the capture.

    Batches of another shape than the captured one run as they are. Where the capture fails, every
    batch does, and the reason is logged once.
    """

    def __init__(
        self, step: Step, warm_up: Callable[[Launch], None], capture: Callable[[Launch], Launch]
    ) -> None:
        """Take the step and the two ways of running it.

        Args:
            step: The step.
            warm_up: Runs a launch in the way that a capture needs beforehand.
            capture: Records a launch without executing it, and returns what replays it.
        """
        self._step, self._warm_up, self._capture = step, warm_up, capture
        self._warm_steps = 0
        self._failed = False
        self._replay: Launch | None = None
        self._batch: tuple[Tensor, Tensor] | None = None

    @property
    def is_captured(self) -> bool:
        """Tell whether there is a capture that is replayed."""
        return self._replay is not None

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Train on one batch."""
        if self._failed:
            self._step(images, labels)
        elif self._warm_steps < WARMUP_STEPS:
            self._warm_steps += 1
            self._warm_up(lambda: self._step(images, labels))
        elif self._replay is None and not self._try_capture(images, labels):
            self._step(images, labels)
        else:
            self._run(images, labels)

    def _run(self, images: Tensor, labels: Tensor) -> None:
        assert self._batch is not None
        assert self._replay is not None
        if images.shape != self._batch[0].shape or labels.shape != self._batch[1].shape:
            self._step(images, labels)
            return
        self._batch[0].copy_(images)
        self._batch[1].copy_(labels)
        self._replay()

    def _try_capture(self, images: Tensor, labels: Tensor) -> bool:
        batch = (images.clone(), labels.clone())
        try:
            self._replay = self._capture(lambda: self._step(*batch))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            logger.warning("step not captured, it runs kernel by kernel: %s", error)
            self._failed = True
            return False
        self._batch = batch
        return True


class SideStream:
    """A CUDA stream for the warm-up and the capture of one step.

    One for each step: cuBLAS keeps a workspace for each stream, and graphs captured on the same
    one would write into the same when they are replayed side by side.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def run(self, launch: Launch) -> None:
        """Run a launch on the stream, ordered with the current one."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            launch()
        torch.cuda.current_stream().wait_stream(self._stream)

    def capture(self, launch: Launch) -> Launch:
        """Record a launch as a CUDA graph.

        Raises:
            RuntimeError: Something in it cannot be captured; the process is sound.
            BrokenCaptureError: The capture could not be ended; the process is not.
        """
        graph = torch.cuda.CUDAGraph()
        # other threads (the loader that fetches ahead) may go on calling CUDA meanwhile
        context = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")
        record(launch, context)
        return graph.replay


def record(launch: Launch, context: AbstractContextManager[object]) -> None:
    """Run a launch within a capture, and tell its failure from that of the capture's end.

    Raises:
        Exception: What the launch raised, where the capture ended well.
        BrokenCaptureError: The capture could not be ended.
    """
    failure: Exception | None = None
    try:
        with no_garbage_collection(), context:
            try:
                launch()
            except Exception as error:  # raised again once the capture is over
                failure = error
    except RuntimeError as error:
        cause = failure or error
        raise BrokenCaptureError(
            f"a CUDA graph of the training step could not be captured, and this process cannot "
            f"go on: {cause}; {GRAPHS_VARIABLE}=0 in the environment turns graphs off"
        ) from cause
    if failure is not None:
        raise failure


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage now and none within: freeing a dead graph's memory breaks a capture."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
