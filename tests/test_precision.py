from dataclasses import replace

import pytest

from nas.precision import choose_precision
from nas.recipe import RECIPES
from tests.small_training import CPU, make_job


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_the_recipe_says_is_not_measured(precision):
    assert choose_precision(make_job(precision=precision), CPU) == precision


def test_a_gpu_gets_bfloat16():
    assert choose_precision(make_job(), replace(CPU, device="cuda")) == "bfloat16"


def test_the_choice_fits_a_recipe():
    choice = choose_precision(make_job(), CPU, batch_size=8)
    assert replace(RECIPES["short"], precision=choice).precision in ("float32", "bfloat16")
