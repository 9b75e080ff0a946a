"""What is said of a study's outcome; figures by closed formulas."""

import json
import math
from dataclasses import replace

import pytest

from nas.network.architecture import Architecture, Stage, Stem
from nas.results.question import TOO_SHORT, Answer
from nas.results.summary import (
    describe_trial,
    name_baseline,
    pareto_table,
    summarise,
    summary_record,
    table_of,
    verdict_lines,
)
from tests.support.errors import wilson_error
from tests.support.rows import row


def summary_of(*rows, budget=10_000, val_images=100):
    answer = Answer(TOO_SHORT, 0, (), 4, 1_000)
    return summarise("mine", budget, val_images, rows, 4, 1_294, answer)


def text_of(*rows, **options):
    return " ".join(verdict_lines(summary_of(*rows, **options)))


def test_an_accuracy_carries_its_standard_error():
    def shown(accuracy, val_images):
        return table_of(summary_of(row(0, accuracy), val_images=val_images))[1][0][1]

    assert shown(0.93, 5_000) == "93.00 ± 0.36%"
    # all of 6 right: (6 + 1.9207) / (6 + 3.8415) = .80483, sqrt(.80483 (1 - .80483) / 9.8415)
    assert shown(1.0, 6) == "100.00 ± 12.63%"
    assert shown(0.0, 6) == "0.00 ± 12.63%"


def test_a_study_of_another_metric_has_its_name_and_each_trial_s_own_error():
    rows = [row(0, 0.70, 900, standard_error=0.05), row(1, 0.66, 500, standard_error=0.02)]
    rows.append(row(2, 0.64, 300, source="known", standard_error=0.12))
    counts = {"ok": 95, "defect": 5}
    summary = replace(summary_of(*rows), metric="balanced_accuracy", class_counts=counts)
    header, cells = table_of(summary)
    assert header[1] == "val balanced accuracy"
    assert [cell[1] for cell in cells] == ["70.00 ± 5.00%", "66.00 ± 2.00%", "64.00 ± 12.00%"]
    assert [found.number for found in summary.tied] == [0, 1]  # .70 - .05, as of trial 0
    record = summary_record(summary)
    assert record["best"]["val_balanced_accuracy"] == 0.70
    assert record["best"]["standard_error"] == 0.05
    assert record["difference"]["val_balanced_accuracy"] == pytest.approx(0.06)
    assert record["difference"]["standard_error"] == pytest.approx(0.13)  # 5, 12, 13
    assert (record["metric"], record["ranked_by"]) == (summary.metric, "val_balanced_accuracy")
    assert "val_accuracy" not in json.dumps(record)
    text = " ".join(verdict_lines(summary))
    assert "by its balanced accuracy" in text
    assert "lways answering" not in text  # of every study it gives 50%


@pytest.mark.parametrize(("largest", "is_said"), [(95, True), (60, True), (51, False)])
def test_an_accuracy_stands_beside_that_of_always_answering_the_largest_class(largest, is_said):
    counts = {"defect": 100 - largest, "ok": largest}
    summary = replace(summary_of(row(0, 0.94)), class_counts=counts)
    text = f"Always answering 'ok' gives {largest}.00%."
    assert (text in verdict_lines(summary)) is is_said  # 51 of 100 is as good as half of them
    assert summary_record(summary)["majority"] == {"class": "ok", "share": largest / 100}


def test_ties_and_their_smallest_are_named_and_the_best_of_many_reads_high():
    text = text_of(row(0, 0.90, 900), row(1, 0.88, 500), row(2, 0.60, 100))
    assert "Trial 0 is the best by its accuracy, tied within one standard error with" in text
    assert "standard error with trial 1." in text
    three = text_of(row(0, 0.90, 900), row(9, 0.88, 500), row(13, 0.89, 600))
    assert "tied within one standard error with trials 13 and 9." in three
    assert "Within one standard error the smallest is trial 1, 500 parameters." in text
    assert "estimate" not in text
    assert "The best of 3 measured on the same 100 images reads high" in text


def test_a_lone_trial_is_not_praised_over_others():
    text = text_of(row(7, 0.9))
    assert "Trial 7 is the only one trained to its end." in text
    assert "reads high" not in text
    assert "standard error" not in text


def test_a_clear_winner_is_said_to_be_one():
    text = text_of(row(0, 0.9), row(1, 0.5))
    assert "Trial 0 is the best by its accuracy, by more than one standard error." in text
    assert "the smallest is" not in text
    text = text_of(row(0, 0.9, estimate=0.7), row(1, 0.5, estimate=0.8))
    assert "Trial 1 is the best by its estimated accuracy, by more than one" in text


@pytest.mark.parametrize(("val_images", "is_named"), [(76, False), (77, True)])
def test_no_best_is_named_where_the_images_resolve_no_ten_points(val_images, is_named):
    rows = (row(0, 0.9), row(1, 0.1))
    text = text_of(*rows, val_images=val_images)
    assert ("Trial 0 is the best by its accuracy" in text) == is_named
    assert (f"{val_images} validation images are too few to name a best" in text) != is_named
    assert ("Trial 0 comes first by its accuracy" in text) != is_named


def test_the_estimate_decides_and_the_measurement_is_printed():
    best = row(1, 0.92, 500, estimate=0.91, estimate_sd=0.01)
    summary = summary_of(row(0, 0.93, estimate=0.90), best)
    record = summary_record(summary)
    assert (record["best"]["trial"], record["ranked_by"]) == (1, "estimated_accuracy")
    assert (record["best"]["val_accuracy"], record["best"]["estimated_accuracy"]) == (0.92, 0.91)
    assert record["best"]["estimated_accuracy_sd"] == 0.01
    header, cells = table_of(summary)
    assert (header[2], cells[0][:3]) == (
        "estimate",
        ("1", f"92.00 ± {100 * wilson_error(92, 100):.2f}%", "91.00%"),
    )


@pytest.mark.parametrize(
    ("accuracy", "lead", "word"),
    [
        (0.80, "The best found is ahead of the baseline final here", "more"),
        (0.65, "Whether anything found is better than the baseline final cannot be told", "less"),
        (0.60, "Nothing found is better than the baseline final here", "less"),
        (0.55, "Nothing found is better than the baseline final here", "less"),
        (0.40, "Nothing found is better than the baseline final here", "more"),
    ],
)
def test_the_first_line_says_whether_the_baseline_is_beaten_and_how_surely(accuracy, lead, word):
    known = row(1, 0.60, source="known", known_name="final")
    summary = summary_of(row(0, accuracy), known)
    error = math.hypot(wilson_error(100 * accuracy, 100), wilson_error(60, 100))
    record = summary_record(summary)["difference"]
    assert record["val_accuracy"] == pytest.approx(accuracy - 0.6)
    assert record["standard_error"] == pytest.approx(error)
    line = verdict_lines(summary)[0]
    assert line.startswith(lead)
    assert (
        "after 4 epochs on 1,294 images, trial 0 (1 training) against trial 1 (1 training)" in line
    )
    assert f"{100 * (accuracy - 0.6):+.2f} points, {word} than the {196 * error:.2f}" in line
    assert summary.better.number == (1 if accuracy < 0.6 else 0)


def test_found_and_baseline_are_compared_by_what_they_are_ranked_by():
    known = row(1, 0.90, estimate=0.80, source="known", known_name="final")
    summary = summary_of(row(0, 0.70, estimate=0.85), known)
    assert "trial 1 (1 training), +5.00 points by the estimate" in verdict_lines(summary)[0]
    assert summary.better.number == 0
    assert summary_record(summary)["difference"]["val_accuracy"] == pytest.approx(-0.2)


def test_the_trainings_of_each_are_counted():
    twice = [row(n, 0.9, id="same", seed=n) for n in (0, 1)]
    known = row(2, 0.5, source="known", known_name="final")
    assert "trial 0 (2 trainings) against trial 2 (1 training)" in text_of(*twice, known)
    assert summary_record(summary_of(*twice, known))["best_found"]["num_trainings"] == 2


def test_a_spaces_own_baseline_goes_by_the_presets_title_or_by_its_notation():
    widths = (16, 32, 64)  # He et al. 2016, section 4.2
    stages = tuple(Stage("basic", 3, width, min(i + 1, 2)) for i, width in enumerate(widths))
    resnet = Architecture(Stem("conv3x3", 16), stages)
    own = {"known_name": "baseline", "notation": "[[Basic,3,16]]"}
    assert name_baseline(row(architecture=resnet.to_dict(), **own)) == "ResNet-20"
    other = Architecture(Stem("conv3x3", 16), stages[:1])
    assert name_baseline(row(architecture=other.to_dict(), **own)) == "[[Basic,3,16]]"
    assert name_baseline(row(known_name="basic-443")) == "basic-443"


def test_without_a_baseline_there_is_nothing_to_compare():
    assert text_of(row(0), row(1)).startswith("No baseline was trained to its end")
    assert summary_of(row(0), row(1)).better.number == 0
    assert summary_record(summary_of(row(0)))["difference"] is None


def test_where_nothing_fits_the_smallest_is_named():
    assert text_of(row(0, size=1_234), budget=1_000) == (
        "No trial within 1,000 parameters was trained to its end; the smallest that was has 1,234."
    )
    assert text_of(row(0, state="running")) == (
        "No trial within 10,000 parameters was trained to its end yet."
    )


def test_where_trials_broke_it_is_said_of_what_and_what_may_help():
    nan, memory = "diverged in epoch 2 of 4: loss nan", "out of memory at 8 images a forward pass"
    rows = [row(0, state="broken", reason=memory)]
    rows += [row(number, state="broken", reason=nan) for number in (1, 2)]
    rows += [row(3, state="broken", reason="given up: died 3 times"), row(4, state="running")]
    assert text_of(*rows) == (
        "No trial within 10,000 parameters was trained to its end: 2 diverged, 1 out of memory, "
        "1 broke (trial 1: diverged in epoch 2 of 4: loss nan). What may help: a lower rate "
        "(--set learning_rate=...) in another study (--study NAME)."
    )
    assert "--max-activations" in summary_record(summary_of(rows[0]))["no_best"]
    assert text_of(rows[3]).endswith(": 1 broke (trial 3: given up: died 3 times).")
    assert summary_record(summary_of(row(5), *rows))["no_best"] is None


def test_the_record_is_plain_json_with_the_pareto_front():
    rows = [row(0, 0.9, 900), row(1, 0.7, 500), row(2, 0.6, 700)]
    record = json.loads(json.dumps(summary_record(summary_of(*rows), top=2)))
    assert [entry["trial"] for entry in record["top"]] == [0, 1]
    assert [entry["trial"] for entry in record["front"]] == [1, 0]
    assert record["best"]["standard_error"] == pytest.approx(wilson_error(90, 100))
    assert record["best"]["budget_share"] == 0.09
    assert record["funnel"]["complete"] == 3


def test_the_table_marks_the_best_and_the_tied_and_names_the_stem():
    architecture = {"stem": {"kind": "conv5x5", "width": 8}, "stages": []}
    rows = [
        row(0, 0.90, 900, source="known", known_name="final", notation="[[Basic,1,8]]"),
        row(1, 0.88, 500, architecture=architecture, notation="[[Basic,1,8]]"),
    ]
    header, cells = table_of(summary_of(*rows))
    assert all(len(line) == len(header) for line in cells)
    assert cells[0][5] == "final, best"
    assert cells[1][5] == "uniform, smallest tied"
    assert cells[1][6] == "conv5x5 [[Basic,1,8]]"
    assert cells[1][3] == "5.0%"


def test_the_pareto_front_names_the_best_up_to_each_size_and_a_long_one_keeps_its_ends():
    rows = [row(0, 0.9, 900), row(1, 0.7, 500), row(2, 0.6, 700)]
    header, cells = pareto_table(summary_of(*rows))
    assert len(header) == 3
    assert [line[:2] for line in cells] == [("900", "trial 0"), ("500", "trial 1")]
    assert cells[1][2] == f"70.00 ± {100 * wilson_error(70, 100):.2f}%"
    long = [row(n, 0.2 + n / 50, 100 + n) for n in range(30)]
    shown = [line[0] for line in pareto_table(summary_of(*long))[1]]
    assert len(shown) == 8
    assert (shown[0], shown[-1]) == ("129", "100")


def test_a_trials_end_is_told_with_its_reason():
    lines = describe_trial(row(3, None, state="failed", reason="killed"), "mine", 100, "accuracy")
    assert lines == ["trial 3 of study mine, from uniform", "failed, 4 epochs, killed"]
    broken = describe_trial(
        row(3, 0.0, state="broken", reason="diverged"), "mine", 100, "accuracy"
    )
    assert "accuracy" not in broken[1]
