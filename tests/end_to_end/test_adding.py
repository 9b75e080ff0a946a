"""What a stranger adds by README's words alone, applied to a copy of the tree, which is then run.

Each diff has a file or a function and at most one row of a table; nothing else is told about it.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from tests.support.searching import PATIENCE_SECONDS, SERVER, TINY

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("cli.py", "setup.cfg", "nas", "search_spaces", "tests")


class Tree:
    """A copy of what is shipped, without the environment and the studies."""

    def __init__(self, path):
        self.path = path
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, path / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, path / name)

    def write(self, file, text):
        assert not (self.path / file).exists()
        (self.path / file).write_text(text)

    def edit(self, file, pattern, text):
        """Put `text`, in which \\g<0> is what was found, in the place of the one match."""
        before = (self.path / file).read_text()
        after, count = re.subn(pattern, text, before, flags=re.MULTILINE)
        assert count == 1, (file, pattern)
        (self.path / file).write_text(after)

    def add_row(self, file, table, row):
        self.edit(file, rf"^{table}\b.* = {{.*$", rf"\g<0>\n    {row},")

    def help(self, command):
        words = [sys.executable, self.path / "cli.py", command, "--help"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    def call(self, function, *args):
        """Call a function in a process that imports the copy; exit code, output, errors."""
        process = SERVER.Process(target=_in_tree, args=(self.path, function, args))
        process.start()
        process.join(PATIENCE_SECONDS)
        process.kill()  # ended, but for a test that fails
        return process.exitcode, *((self.path / name).read_text() for name in ("out", "err"))

    def run(self, *lines):
        """Run command lines in one process; what each prints."""
        code, printed, errors = self.call(run_commands, *lines)
        assert code == 0, errors
        return printed.split("\f")[:-1]


def _in_tree(path, function, args):
    """In the child, which has what we import: forget our own modules and take the copy's."""
    os.chdir(path)
    os.environ |= {"NAS_STUDIES": str(path / "studies"), "NAS_STORAGE": ""}
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    for name in [name for name in sys.modules if name.partition(".")[0] in ("nas", "tests")]:
        del sys.modules[name]
    sys.path.insert(0, str(path))
    import torch

    import nas

    assert Path(nas.__file__).is_relative_to(path)
    torch.set_num_threads(1)
    sys.exit(function(*args))


def run_commands(*lines):
    from nas.commands import main

    for line in lines:
        if code := main(shlex.split(line)):
            return code
        print(end="\f")
    return 0


def run_tests(*words):
    return int(pytest.main(["-p", "no:cacheprovider", "-p", "no:xdist", *words]))


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def search(*more):
    """A command line that trains two networks for an epoch, in a few seconds."""
    words = "search --budget 20k --trials 2 --epochs 1 --workers 1 --device cpu --no-baselines"
    return " ".join([words, *more, "--format json"])


# -- a block kind: one function and one row ---------------------------------------------------

INVERTED_RESIDUAL = '''
def inverted_residual(w_in: int, w_out: int, stride: int, kernel: int, dropout: float) -> Layers:
    """1x1 up to three times the width, depthwise k x k, 1x1 down without an activation.

    Source: Sandler et al. 2018, MobileNetV2, Figure 4(d).
    """
    hidden = 3 * w_in
    return (
        Conv(w_in, hidden, 1, 1, 0),
        Norm(hidden),
        Act("relu6"),
        Conv(hidden, hidden, kernel, stride, _same_padding(kernel), groups=hidden),
        Norm(hidden),
        Act("relu6"),
        *_dropout(dropout),
        Conv(hidden, w_out, 1, 1, 0),
        Norm(w_out),
        Shortcut(w_in, w_out, stride),
    )


'''
INVERTED_SPACE = '''"""Inverted residuals alone."""

from nas.space import Architecture, SearchSpace, Stage, StageChoices, Stem

BASELINE = Architecture(Stem("conv3x3", 8), (Stage("inverted_residual", 1, 8, 1),))
STAGE = StageChoices(kinds=("inverted_residual",), depths=(1, 2), widths=(8, 16))
SPACE = SearchSpace(stems=("conv3x3",), stages=(STAGE, STAGE))
'''


@pytest.fixture
def tree_with_kind(tree):
    blocks = "nas/network/blocks.py"
    tree.edit(blocks, r"^BLOCKS\b", rf"{INVERTED_RESIDUAL.lstrip()}\g<0>")
    tree.add_row(blocks, "BLOCKS", '"inverted_residual": inverted_residual')
    return tree


def torch_block(w_in, w_out, stride):
    """The same block in PyTorch's own words, its shortcut projected where it has to be."""
    hidden = 3 * w_in
    needs_projection = stride != 1 or w_in != w_out
    return nn.ModuleList(
        [
            nn.Conv2d(w_in, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.Conv2d(hidden, w_out, 1, bias=False),
            nn.BatchNorm2d(w_out),
            nn.Conv2d(w_in, w_out, 1, stride, bias=False) if needs_projection else nn.Identity(),
        ]
    )


def test_a_block_kind_with_groups_is_counted_and_trained(tree_with_kind):
    notation = "[[InvertedResidual,2,8],[InvertedResidual,1,16]]"
    stem = [nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8)]
    blocks = [torch_block(8, 8, 1), torch_block(8, 8, 1), torch_block(8, 16, 2)]
    net = nn.ModuleList([*stem, *blocks, nn.Linear(16, 10)])
    num_params = sum(parameter.numel() for parameter in net.parameters())
    tree_with_kind.write("inverted.py", INVERTED_SPACE)
    counted, found = tree_with_kind.run(
        f"count '{notation}' --channels 1 --image-size 8 --total --format json",
        search("--space inverted.py --dataset digits"),
    )
    assert json.loads(counted)["num_params"] == num_params
    best = json.loads(found)["best"]
    assert "InvertedResidual" in best["notation"]
    assert best["val_accuracy"] > 0


@pytest.mark.slow
def test_the_tests_of_the_network_take_a_block_kind_up_without_an_edit(tree_with_kind):
    files = [f"tests/network/test_{name}.py" for name in ("blocks", "complexity", "model")]
    chosen = "inverted_residual-3 and not 3-1"
    code, printed, _ = tree_with_kind.call(run_tests, "-k", chosen, *files)
    assert code == 0, printed
    assert int(re.search(r"(\d+) passed", printed)[1]) >= 5


# -- a search space: one file -----------------------------------------------------------------


@pytest.mark.slow
def test_a_search_space_is_listed_counted_and_searched(tree):
    text = Path(TINY).read_text()
    text = text.replace(text.splitlines()[0], '"""Squeezed: blocks with squeeze-and-excitation.')
    text = text.replace('kinds=("basic", "bottleneck")', 'kinds=("basic_se",)')
    tree.write("search_spaces/squeezed.py", text)
    listed, preflight, found = tree.run(
        "spaces",
        "spaces squeezed --budget 20k --dataset digits --format json",
        search("--space squeezed --dataset digits"),
    )
    assert "Squeezed: blocks with squeeze-and-excitation" in listed
    assert json.loads(preflight)["num_fitting"] == 4 + 4 * 4  # of one stage, of two
    assert "BasicSe" in json.loads(found)["best"]["notation"]


# -- a sampler: one file and one row ----------------------------------------------------------

SMALLEST = '''"""Smallest first: of eight uniform draws, the one with the fewest parameters."""


class SmallestProposer:
    """Propose small networks."""

    def __init__(self, space, over_budget="resample"):
        self._space = space

    def draws(self, request):
        """Yield the smallest of eight without end."""
        while True:
            drawn = [self._space.sample(request.rng) for _ in range(8)]
            yield "smallest of 8", min(drawn, key=self._space.num_params)
'''


@pytest.mark.slow
def test_a_sampler_is_listed_and_proposes(tree):
    tree.write("nas/samplers/smallest.py", SMALLEST)
    tree.add_row("nas/samplers/__init__.py", "SAMPLERS", '"smallest": "SmallestProposer"')
    assert "smallest" in tree.help("search")
    (found,) = tree.run(search(f"--space {TINY} --dataset digits --sampler smallest"))
    assert {row["source"] for row in json.loads(found)["top"]} == {"smallest of 8"}


# -- a data set: one file and one row ---------------------------------------------------------

STRIPES = '''"""Stripes, gray, 8x8, drawn here: level or upright."""

import torch

from nas.data.images import LabelledImages, read_dataset


def training_splits(name, data_dir, reading):
    """Return 400 images."""
    return read_dataset(_draw(400, seed=0))


def test_split(name, data_dir, reading):
    """Return 100 others."""
    return _draw(100, seed=1)


def _draw(number, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 2
    lines = torch.randint(256, (number, 1, 8, 1), dtype=torch.uint8, generator=generator)
    level = lines.expand(-1, -1, 8, 8)
    images = torch.where(labels.view(-1, 1, 1, 1) == 0, level, level.mT)
    return LabelledImages(images, labels, ("level", "upright"))
'''


@pytest.mark.slow
def test_a_data_set_is_listed_searched_on_and_measured_on(tree):
    tree.write("nas/data/stripes.py", STRIPES)
    row = '"stripes": DatasetRow("2 kinds of stripes, 8x8", "stripes", 8, True, 1, 2)'
    tree.add_row("nas/data/datasets.py", "DATASETS", row)
    assert "stripes" in tree.help("search")
    _, found = tree.run(
        search(f"--space {TINY} --dataset stripes"),
        "retrain --best --epochs 2 --device cpu --format json",
    )
    (run,) = json.loads(found)["runs"]
    assert run["test_images"] == 100
    assert run["class_names"] == ["level", "upright"]


# -- a field of a layer record that only one file knows ---------------------------------------


def build():
    from nas.network import model
    from nas.network.presets import resolve_architecture

    model.count = lambda *given: None  # counting would refuse it first
    model.build_model(resolve_architecture("resnet20"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "call", [(run_commands, "count resnet20"), (build,)], ids=["counting", "building"]
)
def test_a_field_of_a_layer_that_is_unknown_elsewhere_is_an_error_by_its_name(tree, call):
    tree.edit("nas/network/blocks.py", r"^    groups: int = 1$", r"\g<0>\n    bias: bool = False")
    code, _, errors = tree.call(*call)
    assert code == 1
    assert re.search(r"unexpected keyword argument 'bias'$", errors)
