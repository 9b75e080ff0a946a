import pytest

from nas.bench.contenders import OurLoop, noise_pictures
from nas.bench.run import BenchPlan, bench_network
from nas.network.architecture import Architecture, Stage, Stem
from nas.training.cuda_graph import WARMUP_STEPS, GraphedStep
from nas.training.engine import Engine
from nas.training.recipe import get_recipe

pytestmark = pytest.mark.slow

NET = Architecture(Stem("conv3x3", 8), (Stage("basic", 1, 8, 1),))
VAL_IMAGES_PER_SECOND = 250


class CountingGraphs:
    """Fake captures, and every event of this process' loops in the order it came."""

    def __init__(self):
        self.events = []

    def with_graph(self, step, *_):
        loop = len([kind for kind, _ in self.events if kind == "made"])
        self.events.append(("made", loop))

        def warm_up(launch):
            self.events.append(("warm-up", loop))
            launch()

        def capture(launch):
            self.events.append(("capture", loop))

            def replay():
                self.events.append(("replay", loop))
                launch()

            return replay

        return GraphedStep(step, warm_up, capture)

    def before_timing(self, kind):
        return [loop for name, loop in self.events[: self.first_timing()] if name == kind]

    def first_timing(self):
        return next(i for i, (name, _) in enumerate(self.events) if name == "timing")


@pytest.fixture(scope="module")
def benched(tmp_path_factory):
    graphs, time_steps = CountingGraphs(), OurLoop.time_steps

    def note_and_time(loop, num_steps):
        graphs.events.append(("timing", None))
        return time_steps(loop, num_steps)

    pictures = noise_pictures(tmp_path_factory.mktemp("pictures"), num_images=40)
    plan = BenchPlan(batch_size=8, num_pairs=7, seconds_per_timing=0.01, worker_counts=(0, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nas.training.open_training.with_graph", graphs.with_graph)
        patch.setattr(OurLoop, "time_steps", note_and_time)
        patch.setattr(OurLoop, "time_evaluation", lambda _, num: num / VAL_IMAGES_PER_SECOND)
        figures = bench_network(
            "net", NET, get_recipe("short"), Engine("cpu", 1), pictures, plan, True
        )
    return graphs, figures


def test_each_loop_is_warmed_up_captured_and_replayed_before_the_first_timing(benched):
    graphs, figures = benched
    loops = [0, 1, 2]  # ours, without channels-last, without the fused optimizer
    assert set(figures["without"]) == {"channels_last", "fused_optimizer"}
    assert graphs.before_timing("capture") == loops
    assert graphs.before_timing("replay") == loops
    assert graphs.before_timing("warm-up") == sorted(loops * WARMUP_STEPS)


def test_a_timed_step_is_a_replay(benched):
    graphs, _ = benched
    timed = {name for name, _ in graphs.events[graphs.first_timing() :]}
    assert timed == {"timing", "replay"}


def test_the_plain_loop_is_compared_with_and_without_workers(benched):
    _, figures = benched
    for key in ("ratio", "ratio_no_workers", "ratio_channels_last"):
        low, high = figures[f"{key}_interval"]
        assert 0 < low <= figures[key] <= high
    assert figures["plain_no_workers_images_per_second"] > 0
    if figures["plain_workers"] == 0:
        assert figures["ratio_no_workers"] == figures["ratio"]


def test_a_trial_takes_its_set_up_ten_epochs_of_training_and_their_evaluations(benched):
    _, figures = benched
    epoch = 45_000 / figures["images_per_second"] + 5_000 / VAL_IMAGES_PER_SECOND
    assert figures["seconds_per_trial"] == pytest.approx(figures["setup_seconds"] + 10 * epoch)
