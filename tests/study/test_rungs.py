"""What `--rungs` may say, and what each wrong text is told."""

import pytest

from nas.errors import UsageError
from nas.study.rungs import RungSpec, check_rungs, format_rungs, parse_rungs, rung_study


@pytest.mark.parametrize(
    ("text", "rungs"),
    [
        ("24x30,6x100", (RungSpec(24, 30), RungSpec(6, 100))),
        (" 24X30 , 6 x 100 ", (RungSpec(24, 30), RungSpec(6, 100))),
        ("1x2", (RungSpec(1, 2),)),
        ("27x1x30000, 9 x 3 x 45000", (RungSpec(27, 1, 30_000), RungSpec(9, 3, 45_000))),
        ("27x1x30000,9x3", (RungSpec(27, 1, 30_000), RungSpec(9, 3))),  # the plan's slice
        ("none", ()),
    ],
)
def test_rungs_are_read_and_written_alike(text, rungs):
    assert parse_rungs(text) == rungs
    assert parse_rungs(format_rungs(rungs)) == rungs


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ",", "24", "24x", "x30", "24*30", "24x30,", "0x30", "24x0", "-1x30", "2.5x30"),
        *(
            "24x30;6x100",
            "24x30x6x1",
            "24x30x0",
            "٣x30",
            "9999999x30",
            "24x30 6x100",
            "24x1e2",
            "None,1x2",
        ),
    ],
)
def test_what_is_no_list_of_rungs_is_refused_with_the_rule_the_value_and_an_example(text):
    with pytest.raises(UsageError) as caught:
        parse_rungs(text)
    message = str(caught.value)
    assert "COUNTxEPOCHS" in message
    assert repr(text) in message
    assert "24x30,6x100" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("6x30,24x100", "fewer networks than the one below it, but 24x100 has 24 after the 6"),
        ("6x30,6x100", "fewer networks than the one below it, but 6x100 has 6 after the 6"),
        ("24x100,6x30", "longer than the one below it, but 6x30 has 30 epochs after the 100"),
        ("24x30,6x30", "longer than the one below it, but 6x30 has 30 epochs after the 30"),
        (
            "24x3x900,6x2x1300",  # 2,600 images in sum after 2,700
            "but 6x2x1300 has 2 epochs on 1,300 images after the 3 epochs on 900 images",
        ),
    ],
)
def test_each_rung_trains_fewer_for_longer_than_the_one_below(text, said):
    with pytest.raises(UsageError, match="lowest rung first") as caught:
        parse_rungs(text)
    assert said in str(caught.value)


def test_the_lowest_rung_trains_fewer_for_longer_than_the_search():
    def check(*rungs, trials=5, epochs=2):
        check_rungs(rungs, trials, epochs, images=1_000, num_train=4_000)

    check(trials=1, epochs=100)
    check(RungSpec(4, 3))
    check(RungSpec(4, 1, 2_001), RungSpec(2, 3))
    with pytest.raises(UsageError, match="5x3 has 5 of 5 trials; give --rungs a lower count"):
        check(RungSpec(5, 3))
    with pytest.raises(UsageError, match="4x2 has 2 epochs and a trial of this study 2 epochs; g"):
        check(RungSpec(4, 2))
    with pytest.raises(UsageError, match="1 epoch on 2,000 images and a trial of this study 2 ep"):
        check(RungSpec(4, 1, 2_000))
    with pytest.raises(UsageError, match="but 2x3x1000 has 3 epochs on 1,000 images after the 2"):
        check(RungSpec(4, 2, 3_000), RungSpec(2, 3))


def test_a_rung_has_no_more_images_than_there_are_to_train_on():
    with pytest.raises(UsageError, match="asks for 4,001 training images, but there are 4,000"):
        check_rungs((RungSpec(4, 9, 4_001),), 5, 2, 1_000, 4_000)


def test_a_rung_is_a_study_of_its_own_name():
    assert rung_study("mine", RungSpec(4, 30)) == "mine@30"  # as it always was
    assert rung_study("mine", RungSpec(4, 3, 45_000)) == "mine@3x45000"
