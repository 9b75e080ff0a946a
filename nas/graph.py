"""A whole training step as one CUDA graph: launched once instead of a thousand kernels.

At 32x32 pixels a small net's step is bound by kernel launches. Capture needs no compilation. The
first steps run as they are, on a side stream, and count as training; then the step is captured
and replayed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from nas.device import Engine, is_out_of_memory
from nas.step import Step

logger = logging.getLogger(__name__)

WARMUP_STEPS = 3  # lazily made state (momenta, workspaces, autotuning) exists after these

Launch = Callable[[], None]


def with_graph(step: Step, engine: Engine) -> Step:
    """Return the step, captured where the engine's device can and the engine says so."""
    if engine.is_cuda and engine.cuda_graph:
        return GraphedStep(step, run_on_side_stream, capture_on_cuda)
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
            warm_up: Runs a launch in the way capture wants it before.
            capture: Records a launch without executing it, and returns what replays it.
        """
        self._step, self._warm_up, self._capture = step, warm_up, capture
        self._warm_steps = 0
        self._failed = False
        self._replay: Launch | None = None
        self._batch: tuple[Tensor, Tensor] | None = None

    def __call__(self, images: Tensor, targets: Tensor) -> None:
        """Train on one batch."""
        if self._failed:
            self._step(images, targets)
        elif self._warm_steps < WARMUP_STEPS:
            self._warm_steps += 1
            self._warm_up(lambda: self._step(images, targets))
        elif self._replay is None and not self._try_capture(images, targets):
            self._step(images, targets)
        else:
            self._run(images, targets)

    def _run(self, images: Tensor, targets: Tensor) -> None:
        assert self._batch is not None
        assert self._replay is not None
        if images.shape != self._batch[0].shape or targets.shape != self._batch[1].shape:
            self._step(images, targets)
            return
        self._batch[0].copy_(images)
        self._batch[1].copy_(targets)
        self._replay()

    def _try_capture(self, images: Tensor, targets: Tensor) -> bool:
        batch = (images.clone(), targets.clone())
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


def run_on_side_stream(launch: Launch) -> None:
    """Run a launch on a stream of its own, ordered with the current one."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        launch()
    torch.cuda.current_stream().wait_stream(side)


def capture_on_cuda(launch: Launch) -> Launch:
    """Record a launch as a CUDA graph.

    Raises:
        RuntimeError: Something in it cannot be captured.
    """
    graph = torch.cuda.CUDAGraph()
    # other threads (the loader that fetches ahead) may go on calling CUDA meanwhile
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        launch()
    return graph.replay
