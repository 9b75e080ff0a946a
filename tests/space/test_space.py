import json
import random
import subprocess
import sys
from dataclasses import replace
from itertools import product

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution

from nas.errors import NasError, SpaceError, UnknownNameError
from nas.network.architecture import Architecture, Stage, Stem
from nas.network.identity import identify
from nas.space import SearchSpace, StageChoices, list_spaces, load_space
from nas.space.files import SPACES_DIR

SMALL = StageChoices(("basic", "bottleneck"), (1, 2, 3), (8, 16))
UNEVEN = SearchSpace(
    stems=("conv3x3", "conv5x5"),
    num_stages=(2, 3),
    stages=(SMALL, StageChoices(("basic",), (1, 4, 6), (12,), (3, 5)), SMALL),
    dropouts=(0, 0.2),
)
VALID_FILE = '''"""A title.

More.
"""

from nas.space import Architecture, SearchSpace, Stage, StageChoices, Stem

BASELINE = Architecture(Stem("conv3x3", 8), (Stage("basic", 1, 8, 1),))
SPACE = SearchSpace(("conv3x3",), (StageChoices(("basic",), (1, 2), (8, 16)),))
'''
OWN = "class Own({}): pass\n"


def draw_choices(space, rng):
    return {choice.name: rng.choice(choice.values) for choice in space.choices}


# -- the record -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stems": ()}, "stems must be a tuple of at least one value"),
        ({"stems": ["conv3x3"]}, "stems must be a tuple"),
        ({"stems": ("conv3x3", "conv3x3")}, "must not repeat a value, but 'conv3x3'"),
        ({"stems": ("conv4x4",)}, "unknown stem 'conv4x4'; did you mean 'conv"),
        ({"num_stages": (1, 2)}, "at most 6, but there are 3 for num_stages 2"),
        ({"num_stages": (0, 3)}, "positive whole numbers, .*but got 0"),
        ({"num_stages": (True, 3)}, "positive whole numbers, .*but got True"),
        ({"stages": (SMALL,) * 7, "num_stages": (7,)}, "at most 6"),
        ({"dropouts": (0.0, 1.0)}, r"in \[0, 1\), but got 1.0"),
        ({"dropouts": ("much",)}, r"in \[0, 1\), but got 'much'"),
    ],
)
def test_a_space_that_breaks_the_contract_is_refused_with_its_reason(change, reason):
    with pytest.raises((SpaceError, UnknownNameError), match=reason):
        replace(UNEVEN, **change)


@pytest.mark.parametrize("name", ["uneven", *list_spaces()])
def test_a_space_comes_back_from_its_lists_as_json(name):
    space = UNEVEN if name == "uneven" else load_space(name).space
    assert SearchSpace.from_lists(json.loads(json.dumps(space.to_lists()))) == space


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kinds": ()}, "kinds must be a tuple of at least one value"),
        ({"kinds": ("basik",)}, "unknown block kind 'basik'; did you mean 'basic'"),
        ({"depths": (1, 1)}, "depths must not repeat a value, but 1 stands twice"),
        ({"depths": (0, 1)}, "depths must hold positive whole numbers, .*but got 0"),
        ({"widths": (8.0,)}, "widths must hold positive whole numbers, .*but got 8.0"),
        ({"widths": (8, 10**400)}, "at most 1e.18, but got 1000"),
        ({"widths": (8, 10)}, "'bottleneck' has no block of width 10: .*multiple of 4"),
        ({"kinds": ("bottleneck",), "kernels": (2,)}, "even kernel"),
    ],
)
def test_stage_lists_that_break_the_contract_are_refused_with_their_reason(change, reason):
    with pytest.raises(NasError, match=reason):
        replace(SMALL, **change)


def test_every_name_is_asked_for_in_every_trial_and_constants_never():
    seen = []
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        UNEVEN.suggest(trial)
        seen.append(tuple(trial.params))
    assert set(seen) == {tuple(UNEVEN.distributions)}
    assert "stage2_kind" not in UNEVEN.distributions  # one kind
    assert "stage2_width" not in UNEVEN.distributions
    assert len(UNEVEN.distributions) == 11


def test_ranges_are_whole_numbers_and_lists_are_categories():
    distributions = UNEVEN.distributions
    assert distributions["stage1_depth"] == IntDistribution(1, 3)
    assert distributions["num_stages"] == IntDistribution(2, 3)
    assert distributions["stage2_depth"] == CategoricalDistribution((1, 4, 6))
    assert distributions["stage1_width"] == CategoricalDistribution((8, 16))
    assert distributions["dropout"] == CategoricalDistribution((0.0, 0.2))


def test_evenly_spaced_depths_are_a_range_with_that_step():
    stage = StageChoices(("basic",), (2, 4, 6), (8,))
    space = SearchSpace(("conv3x3",), (stage,))
    assert space.distributions == {"stage1_depth": IntDistribution(2, 6, step=2)}


def test_a_fixed_trial_rebuilds_the_network_that_was_suggested():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(10):
        trial = study.ask()
        architecture = UNEVEN.suggest(trial)
        assert UNEVEN.suggest(optuna.trial.FixedTrial(trial.params)) == architecture
        assert UNEVEN.decode(trial.params) == architecture


def test_choices_decode_to_the_network_they_name():
    architecture = UNEVEN.decode(
        {
            "stem": "conv5x5",
            "num_stages": 2,
            "dropout": 0.2,
            "stage1_kind": "bottleneck",
            "stage1_depth": 3,
            "stage1_width": 16,
            "stage2_depth": 4,
            "stage2_kernel": 5,
        }
    )
    assert architecture == Architecture(
        Stem("conv5x5", 16),
        (Stage("bottleneck", 3, 16, 1, 3, 0.2), Stage("basic", 4, 12, 2, 5, 0.2)),
    )


def test_missing_and_foreign_values_are_refused_by_name():
    choices = draw_choices(UNEVEN, random.Random(0))
    with pytest.raises(SpaceError, match=r"stage1_depth must be one of \[1, 2, 3\], but got 4"):
        UNEVEN.decode({**choices, "stage1_depth": 4})
    del choices["stem"]
    with pytest.raises(SpaceError, match="stem must be one of"):
        UNEVEN.decode(choices)


def test_two_canonical_choices_are_equal_exactly_when_their_networks_are():
    rng = random.Random(3)
    by_id, by_choices = {}, {}
    for _ in range(3000):
        choices = draw_choices(UNEVEN, rng)
        canonical = tuple(UNEVEN.canonical(choices).items())
        network = identify(UNEVEN.decode(choices)).id
        assert by_id.setdefault(network, canonical) == canonical
        assert by_choices.setdefault(canonical, network) == network
    assert len(by_id) < 3000  # some were met twice


@given(st.randoms(use_true_random=False))
def test_encode_undoes_decode(rng):
    choices = draw_choices(UNEVEN, rng)
    architecture = UNEVEN.decode(choices)
    assert UNEVEN.encode(architecture) == UNEVEN.canonical(choices)
    assert UNEVEN.decode(UNEVEN.canonical(choices)) == architecture


def test_a_network_written_with_a_stage_in_two_parts_is_the_same_choice():
    whole = UNEVEN.decode(
        draw_choices(UNEVEN, random.Random(0)) | {"stage1_depth": 3, "num_stages": 2}
    )
    first = whole.stages[0]
    parts = (replace(first, depth=2), replace(first, depth=1, stride=1))
    split = replace(whole, stages=(*parts, *whole.stages[1:]))
    assert UNEVEN.encode(split) == UNEVEN.encode(whole) is not None


def test_networks_outside_the_space_are_not_in_it():
    inside = UNEVEN.decode(
        draw_choices(UNEVEN, random.Random(0)) | {"num_stages": 2, "stage1_kind": "basic"}
    )
    first, second = inside.stages
    outside = [
        replace(inside, stem=Stem("imagenet", first.width)),
        replace(inside, stem=Stem("conv3x3", first.width * 2)),
        replace(inside, stages=(first,)),
        replace(inside, stages=(first, replace(second, stride=1))),
        replace(inside, stages=(first, replace(second, width=16))),
        replace(inside, stages=(first, replace(second, dropout=0.1))),
        replace(inside, stages=tuple(replace(s, dropout=0.1) for s in inside.stages)),
    ]
    assert UNEVEN.encode(inside) is not None
    assert not any(map(UNEVEN.encode, outside))


def test_enumerate_yields_every_network_once():
    networks = [identify(UNEVEN.decode(choices)).id for choices in UNEVEN.enumerate()]
    lists = [choice.values for choice in UNEVEN.choices]
    names = [choice.name for choice in UNEVEN.choices]
    raw = (dict(zip(names, values, strict=True)) for values in product(*lists))
    expected = {identify(UNEVEN.decode(choices)).id for choices in raw}
    assert len(networks) == len(set(networks))
    assert set(networks) == expected


# -- files ----------------------------------------------------------------------------------------


def write_space(folder, text, name="mine"):
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def test_a_space_is_loaded_by_path_as_by_name(tmp_path):
    loaded = load_space(write_space(tmp_path, VALID_FILE))
    assert (loaded.name, loaded.title) == ("mine", "A title.")
    assert loaded.space == SearchSpace(("conv3x3",), (StageChoices(("basic",), (1, 2), (8, 16)),))
    resnet = load_space("resnet")
    assert resnet == load_space(SPACES_DIR / "resnet.py")


def test_the_hash_follows_the_lists_and_not_the_docstring(tmp_path):
    loaded = load_space(write_space(tmp_path, VALID_FILE))
    renamed = load_space(write_space(tmp_path, VALID_FILE.replace("More.", "Less."), "other"))
    widened = load_space(write_space(tmp_path, VALID_FILE.replace("(8, 16)", "(8, 24)"), "third"))
    assert loaded.content_hash == renamed.content_hash != widened.content_hash


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("SPACE = ", "SPICE = ", "SPACE must be a SearchSpace, but the file gives None"),
        ("BASELINE = ", "BASE = ", "BASELINE must be an Architecture, but is None"),
        ('Stage("basic"', 'Stage("basik"', "unknown block kind 'basik'"),
        ('"""A title.\n\nMore.\n"""', "", "must begin with a docstring"),
        ("SPACE = ", "SPACE = 3 #", "SPACE must be a SearchSpace, but the file gives 3"),
        ("SPACE = ", "SPACE = (", "does not run: SyntaxError"),
        # what is more than its lists could not be kept by a study
        ("SPACE = SearchSpace", f"{OWN.format('SearchSpace')}SPACE = Own", "must be a SearchSp"),
        ("SPACE = ", f"{OWN.format('StageChoices')}StageChoices = Own\nSPACE = ", "must hold St"),
        ("BASELINE = ", "import nothing_at_all\nBASELINE = ", "ModuleNotFoundError"),
        ("(8, 16)", "()", "widths must be a tuple of at least one value"),
    ],
)
def test_a_broken_file_is_refused_with_its_name_and_reason(tmp_path, old, new, reason):
    path = write_space(tmp_path, VALID_FILE.replace(old, new))
    with pytest.raises(SpaceError, match=f"(?s)mine.py.*{reason}"):
        load_space(path)


def test_an_absent_file_and_an_unknown_name_are_refused(tmp_path):
    with pytest.raises(SpaceError, match=r"there is none at .*gone\.py"):
        load_space(tmp_path / "gone.py")
    with pytest.raises(UnknownNameError, match="'resnt'; did you mean 'resnet'"):
        load_space("resnt")


def test_the_shipped_spaces_are_listed_with_their_titles():
    titles = list_spaces()
    assert set(titles) >= {"resnet", "resnet_deep", "resnet_wide"}
    for name, title in titles.items():
        assert title == load_space(name).title
        assert 20 < len(title) < 100


def test_reading_a_space_and_refusing_a_budget_import_nothing_heavy():
    code = (
        "import sys\n"
        "from nas.space import BudgetedSpace, load_space\n"
        "from nas.network.architecture import InputSpec\nfrom nas.network.caps import Caps\n"
        "from nas.errors import BudgetError\n"
        "loaded = load_space('resnet')\n"
        "BudgetedSpace(loaded.space, InputSpec(), Caps(5000)).extreme(False)\n"
        "try: BudgetedSpace(loaded.space, InputSpec(), Caps(5))\n"
        "except BudgetError: print(sorted({'numpy', 'torch', 'optuna'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
