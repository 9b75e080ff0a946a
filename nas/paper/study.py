"""A published study as data: one claim or more of the paper, and the trainings that test them.

To add a study, write one file in `studies/`: a docstring whose first line is what `study` lists,
and `STUDY`. Number of seeds, metric, direction and margin stand in the file, so that they are
fixed before anything is measured. Standard library only.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from nas.errors import unknown_name
from nas.network.architecture import Architecture
from nas.paper.metrics import METRICS
from nas.paper.verdict import MIN_PAIRS, Direction
from nas.training.recipe import Recipe

STUDIES_DIR = Path(__file__).resolve().parents[2] / "studies"


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a comparison.

    Args:
        name: How it is called in tables.
        paper: The network at the paper's size.
        thin: A small one with the same contrast, for two cores.
        settings: Texts ``field=value``, the recipe's fields of this arm.
        thin_settings: In place of `settings` for the small network; None is the same.
        epochs_factor: Epochs, as a multiple of the scale's.
    """

    name: str
    paper: Architecture
    thin: Architecture
    settings: tuple[str, ...] = ()
    thin_settings: tuple[str, ...] | None = None
    epochs_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Claim:
    """What the paper says of two arms.

    Args:
        wording: The paper's words.
        first: Name of the arm that the direction is about.
        second: Name of the arm it is compared with.
        direction: What is claimed of the first: ``higher``, ``lower`` or ``same``.
        metric: A key of `nas.paper.metrics.METRICS`.
        margin: For ``same``: the largest difference that counts as none, in the metric's unit.
    """

    wording: str
    first: str
    second: str
    direction: Direction = "higher"
    metric: str = "val_accuracy"
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A study: arms that are trained with the same seeds, and claims on pairs of them.

    Args:
        section: Where the paper says it.
        arms: What is trained.
        claims: What is judged.
        differs: All in which the arms differ, and nothing else: fields of the recipe, ``epochs``,
            ``stem``, ``stem_width``, ``kinds``, ``depths``, ``widths``, ``kernels``.
        num_seeds: Pairs.
        settings: Texts ``field=value`` that hold for all arms, over the recipe `paper`.
        params_tolerance: Where equal size is part of the claim: the largest difference in
            parameters, as a fraction.
    """

    section: str
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    differs: tuple[str, ...]
    num_seeds: int = 5
    settings: tuple[str, ...] = ()
    params_tolerance: float | None = None

    def __post_init__(self) -> None:
        """Check what a study has to fix before it runs."""
        names = [arm.name for arm in self.arms]
        assert len(set(names)) == len(names) >= 2
        assert self.num_seeds >= MIN_PAIRS
        for claim in self.claims:
            assert {claim.first, claim.second} <= set(names)
            assert claim.metric in METRICS
            assert (claim.direction == "same") == (claim.margin > 0)


@dataclass(frozen=True, slots=True)
class StudyScale:
    """How large a study is run.

    Args:
        thin: Take the small networks.
        train_images: At most so many; None is all.
        val_images: At most so many, and at most a quarter of what there is.
        epochs: Epochs of an arm with the factor 1.
        what: In words.
    """

    thin: bool
    train_images: int | None
    val_images: int
    epochs: int
    what: str


SCALES: dict[str, StudyScale] = {
    "tiny": StudyScale(True, 1_500, 500, 12, "small networks, 1,500 images: minutes on two cores"),
    "small": StudyScale(False, None, 5_000, 30, "the paper's networks, all images, 30 epochs"),
    "full": StudyScale(False, None, 5_000, 200, "the paper's networks, all images, 200 epochs"),
}


@dataclass(frozen=True, slots=True)
class ClaimStudy:
    """A study file that was read: its name, its docstring and its record."""

    name: str
    text: str
    comparison: Comparison

    @property
    def title(self) -> str:
        """Return the first line of the docstring."""
        return self.text.splitlines()[0]


def net(notation: str, stem: str = "conv5x5") -> Architecture:
    """Return the network of a notation; the stem is the paper's final one."""
    return Architecture.from_notation(notation, stem)


FINAL = net("[[Basic,3,64,0.1],[Basic,5,128,0.1],[Bottleneck,26,256,0.1],[Bottleneck,5,512,0.1]]")
THIN = net("[[Basic,1,16,0.1],[Basic,1,32,0.1],[Bottleneck,2,64,0.1],[Bottleneck,1,128,0.1]]")


def recipe_arm(
    name: str,
    *settings: str,
    thin_settings: tuple[str, ...] | None = None,
    epochs_factor: float = 1.0,
) -> Arm:
    """Return an arm that differs in its training alone: of the final net, or of a thin one."""
    return Arm(name, FINAL, THIN, settings, thin_settings, epochs_factor)


def list_claim_studies() -> dict[str, str]:
    """Return the first lines of the study files by name; no file is run."""
    return {
        path.stem: (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0]
        for path in sorted(STUDIES_DIR.glob("[!_]*.py"))
    }


def load_claim_study(name: str) -> ClaimStudy:
    """Run the file of a study.

    Raises:
        UnknownNameError: There is none of this name; the nearest is proposed.
    """
    known = list_claim_studies()
    if name not in known:
        raise unknown_name("study", name, known)
    path = STUDIES_DIR / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"studies.{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.STUDY, Comparison)
    return ClaimStudy(name, module.__doc__ or "", module.STUDY)


def arm_settings(comparison: Comparison, arm: Arm, scale: StudyScale) -> tuple[str, ...]:
    """Return the overrides of an arm over the recipe `paper`."""
    takes_thin = scale.thin and arm.thin_settings is not None
    own = arm.thin_settings if takes_thin else arm.settings
    return (*comparison.settings, *(own or ()))


def arm_network(arm: Arm, recipe: Recipe, scale: StudyScale) -> Architecture:
    """Return an arm's network with the recipe's dropout."""
    return (arm.thin if scale.thin else arm.paper).with_dropout(recipe.dropout)


def arm_epochs(arm: Arm, epochs: int) -> int:
    """Return an arm's epochs, at least 1."""
    return max(1, round(epochs * arm.epochs_factor))
