import json
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import RecipeError, UnknownNameError, UsageError
from nas.training.recipe import RECIPES, Recipe, get_recipe
from nas.training.schedule import SCHEDULES
from tests.support.damage import CASES, assert_is_a_message, damaged_texts, damaged_values

SHORT = RECIPES["short"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_json(name):
    assert Recipe.from_dict(json.loads(json.dumps(RECIPES[name].to_dict()))) == RECIPES[name]
    assert RECIPES[name].name == name


@given(
    rate=st.floats(1e-6, 100),
    batch=st.integers(2, 65536),
    flip=st.booleans(),
    schedule=st.sampled_from(sorted(SCHEDULES)),
)
def test_overrides_as_text_equal_values(rate, batch, flip, schedule):
    texts = [f"learning_rate={rate!r}", f"batch_size={batch}", f"flip={flip}"]
    changed = SHORT.with_overrides([*texts, f"schedule={schedule}"])
    expected = replace(SHORT, learning_rate=rate, batch_size=batch, flip=flip, schedule=schedule)
    assert changed == expected


def test_the_later_of_two_overrides_holds():
    assert SHORT.with_overrides(["batch_size=64", "batch_size=32"]).batch_size == 32


def test_a_whole_number_may_be_written_as_a_power():
    assert SHORT.with_overrides(["batch_size=1e3"]).batch_size == 1000


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("learning_rat=1", ["'learning_rat'", "did you mean 'learning_rate'?"]),
        ("lr=0.1", ["'lr'", "did you mean 'learning_rate'?"]),
        ("WD=0.1", ["'WD'", "did you mean 'weight_decay'?"]),
        ("bs=64", ["did you mean 'batch_size'?"]),
        ("epochs=5", ["did you mean '--epochs'?"]),
        ("name=mine", ["unknown recipe field 'name'"]),
        ("learning_rate=-1", ["learning_rate", "(0, 100]", "-1"]),
        ("learning_rate=0", ["learning_rate", "(0, 100]", "0"]),
        ("learning_rate=nan", ["learning_rate", "(0, 100]", "nan"]),
        ("learning_rate=fast", ["learning_rate", "a number", "'fast'"]),
        ("momentum=1", ["momentum", "(0, 1)", "1"]),
        ("batch_size=1", ["batch_size", "[2, 65536]", "1"]),
        ("batch_size=2.5", ["batch_size", "a whole number", "2.5"]),
        ("label_smoothing=1", ["label_smoothing", "[0, 1)"]),
        ("flip=maybe", ["flip", "true or false", "'maybe'"]),
        ("mixing=cutmx", ["mixing", "'cutmx'", "did you mean 'cutmix'?"]),
        ("schedule=cosin", ["schedule", "did you mean 'cosine'?"]),
        ("floor_learning_rate=1", ["floor_learning_rate=1", "learning_rate=0.1"]),
        ("batch_size", ["field=value", "'batch_size'"]),
        ("optimizer=adamv", ["optimizer", "known: adam, adamw, sgd"]),
        ("schedule=onecycle", ["did you mean 'one_cycle'?"]),
        ("policy=auto_augment", ["did you mean 'autoaugment'?"]),
        ("rotation_degrees=181", ["rotation_degrees", "[0, 180]", "181"]),
        ("dropout=1", ["dropout", "[0, 1), or none", "1"]),
        ("dropout=some", ["dropout", "a number in [0, 1), or none", "'some'"]),
        ("batch_size=none", ["batch_size", "a whole number", "'none'"]),
        ("momentum_dip=0.1", ["cyclic or one_cycle", "momentum_dip=0.1", "schedule=linear"]),
    ],
)
def test_a_wrong_override_is_refused_with_field_rule_and_value(override, parts):
    with pytest.raises(RecipeError) as caught:
        SHORT.with_overrides([override])
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_dip_leaves_some_momentum():
    with pytest.raises(RecipeError, match=r"below momentum.*dip=0.9, momentum=0.9"):
        SHORT.with_overrides(["schedule=cyclic", "momentum_dip=0.9"])


@pytest.mark.parametrize(("text", "value"), [("none", None), ("None", None), ("0.5", 0.5)])
def test_dropout_is_a_number_or_none(text, value):
    changed = RECIPES["paper"].with_overrides([f"dropout={text}"])
    assert changed.dropout == value
    assert Recipe.from_dict(json.loads(json.dumps(changed.to_dict()))) == changed


def test_paper_is_what_the_paper_says():
    paper = RECIPES["paper"]
    assert (paper.optimizer, paper.schedule, paper.batch_size) == ("adamw", "cyclic", 256)
    assert paper.rotation_degrees > 0
    assert paper.flip
    assert paper.crop_padding(32) == 2
    assert paper.dropout is None  # it belongs to the networks of Table 1
    assert (paper.mixing, paper.policy, paper.cutout_share) == ("none", "none", 0.0)
    # PyTorch's CyclicLR rises over 2,000 steps unless told otherwise; 45,000 images, 200 epochs
    steps = 200 * 45_000 // paper.batch_size
    assert steps / paper.cycles / 2 == pytest.approx(2000, rel=0.15)


@pytest.mark.parametrize(
    "override",
    [
        *("optimizer=adam", "optimizer=adamw", "optimizer=sgd"),
        *(f"schedule={name}" for name in SCHEDULES),
        *(f"batch_size={number}" for number in (128, 256, 512, 1024)),
        *("rotation_degrees=15", "crop_share=0.0625", "policy=autoaugment", "dropout=0.5"),
    ],
)
@pytest.mark.parametrize("name", RECIPES)
def test_each_part_of_the_paper_can_be_set_in_any_recipe(name, override):
    field, _, value = override.partition("=")
    found = getattr(RECIPES[name].with_overrides([override]), field)
    assert found == type(found)(value)


@pytest.mark.parametrize("record", [[], {"batch_sizes": 3}, {"flip": 1}, {"batch_size": "3"}])
def test_a_record_that_is_no_recipe_is_refused(record):
    with pytest.raises(RecipeError):
        Recipe.from_dict(record)


def test_an_unknown_recipe_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'modern'"):
        get_recipe("modem")


def test_every_field_but_flags_and_name_has_a_rule():
    free = {item.name for item in fields(Recipe) if "rule" not in item.metadata}
    assert free == {item.name for item in fields(Recipe) if item.type == "bool"} | {"name"}


def test_modern_is_what_the_issue_asks_for():
    modern = RECIPES["modern"]
    assert modern.optimizer == "sgd"
    assert modern.warmup_share * 200 == 5  # epochs
    assert modern.learning_rate_at(1.0) == 0.0
    assert modern.mixing in ("cutmix", "ricap")
    assert modern.mixing_off_share == 0.1
    assert modern.label_smoothing > 0
    assert modern.ema_half_life_share > 0


def test_lengths_are_shares_of_the_image():
    recipe = replace(SHORT, crop_share=0.125, cutout_share=0.5)
    assert [recipe.crop_padding(size) for size in (8, 28, 32, 64)] == [1, 4, 4, 8]
    assert recipe.cutout_size(32) == 16


def test_the_recipe_needs_no_torch():
    code = "import sys, nas.training.recipe, nas.training.result; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


OVERRIDES = ["learning_rate=0.05", "batch_size=64", "cycles=1e1", "dropout=none", "flip=no"]
OVERRIDES += ["schedule=one_cycle", "momentum_dip=0.1", "floor_learning_rate=1e-4", "mixing=ricap"]


@CASES
@given(st.lists(damaged_texts(OVERRIDES) | st.sampled_from(OVERRIDES), min_size=1, max_size=3))
def test_damaged_overrides_are_a_recipe_or_one_message(overrides):
    try:
        changed = SHORT.with_overrides(overrides)
    except UsageError as error:
        assert_is_a_message(error)
        return
    assert Recipe.from_dict(json.loads(json.dumps(changed.to_dict()))) == changed


@CASES
@given(damaged_values([recipe.to_dict() for recipe in RECIPES.values()]))
def test_a_damaged_record_is_a_recipe_or_one_message(record):
    try:
        recipe = Recipe.from_dict(record)
    except UsageError as error:
        assert_is_a_message(error)
        return
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
