"""Studies for tests: one that a real search wrote, and ones whose trials a test states."""

import atexit
import io
import shutil
import tempfile
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import optuna
from optuna.trial import TrialState

from nas.commands import main
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.complexity import count
from nas.network.identity import identify
from nas.study.attributes import (
    ACTIVATIONS,
    ARCHITECTURE,
    ID,
    MACS,
    NOTATION,
    NUM_PARAMS,
    SHAPE_ID,
)
from nas.study.definition import Plan, StudyDefinition
from nas.study.folder import StudyFolder
from nas.study.storage import open_storage
from nas.training.recipe import RECIPES

SPACE = Path(__file__).parent / "spaces" / "tiny.py"
SEARCH = (
    f"search --space {SPACE} --budget 8k --trials 5 --epochs 2 --dataset digits --device cpu"
).split()
SPEC = InputSpec(1, 8, 10)


@cache
def searched_studies():
    """The folder of studies that a real search of five trials on the digits wrote into."""
    folder = Path(tempfile.mkdtemp(prefix="nas-studies-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with redirect_stdout(io.StringIO()):  # a test that reads its own command's output asks first
        assert main([*SEARCH, "--studies", str(folder)]) == 0
    return folder


def copy_studies(destination):
    """A copy of the real study that a test may change."""
    return Path(shutil.copytree(searched_studies(), destination))


def net(width=8, depth=1, dropout=0.0):
    return Architecture(Stem("conv3x3", width), (Stage("basic", depth, width, 1, 3, dropout),))


def definition(name="stated", budget=20_000, val_images=100, **fields):
    values = {
        "name": name,
        "space": str(SPACE),
        "space_hash": "0" * 16,
        "budget": budget,
        "max_macs": None,
        "max_activations": None,
        "dataset": "digits",
        "data_dir": None,
        "data_fingerprint": "0" * 32,
        "channels": SPEC.channels,
        "image_size": SPEC.image_size,
        "num_classes": SPEC.num_classes,
        "val_fraction": 0.1,
        "seed": 0,
        "recipe_name": "short",
        "recipe": RECIPES["short"].to_dict(),
        "pruner": "median",
        "over_budget": "resample",
        "known": True,
        "storage": None,
        "plan": Plan("cpu", 1, 1_294, val_images, 4),
        "versions": {},
        "command": "python cli.py search",
        "created_at": "2026-01-01T00:00:00+00:00",
    }
    return StudyDefinition(**(values | fields))


def create_study(studies, **fields):
    """A new study without trials: its folder and its Optuna study."""
    record = definition(**fields)
    folder = StudyFolder(Path(studies) / record.name)
    folder.path.mkdir(parents=True)
    folder.create(record)
    study = optuna.create_study(
        study_name=record.name,
        storage=open_storage(None, folder.journal),
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    study.set_user_attr("target_trials", 200)
    study.set_user_attr("sampler", "tpe")
    return folder, study


def add_trial(study, architecture, accuracies=(), state=TrialState.COMPLETE, value=None, **attrs):
    """One trial, by the writes a search makes; RUNNING leaves it unfinished."""
    trial = study.ask()
    for number, stage in enumerate(architecture.stages):
        trial.suggest_categorical(f"width{number}", [4, 8, 12, 16, 24, 32])
        trial.suggest_int(f"depth{number}", 1, max(stage.depth, 4))
    identity = identify(architecture)
    cost = count(architecture, SPEC)
    own = {
        ID: identity.id,
        SHAPE_ID: identity.shape_id,
        ARCHITECTURE: architecture.to_dict(),
        NOTATION: architecture.to_notation(),
        NUM_PARAMS: cost.num_params,
        MACS: cost.macs,
        ACTIVATIONS: cost.activations,
        "budget_share": "50%",
        "source": "uniform",
    }
    for name, content in (own | attrs).items():
        trial.set_user_attr(name, content)
    trial.set_constraint("budget", cost.num_params / 20_000 - 1)
    for step, accuracy in enumerate(accuracies):
        trial.report(accuracy, step)
    if state == TrialState.RUNNING:
        return trial.number
    if state == TrialState.COMPLETE:
        study.tell(trial, accuracies[-1] if value is None else value)
    else:
        study.tell(trial, state=state)
    return trial.number


def snapshot(folder):
    """Every file below a folder with its bytes."""
    return {p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
