"""A row's training from the paper's table, its comparison, and the command end to end."""

import csv
import json

import pytest

from nas.commands import main
from nas.errors import RecipeError
from nas.network.architecture import InputSpec
from nas.paper.reproduce import compare, find_obstacle, row_epochs, row_recipe, used_settings
from nas.paper.table import ROWS
from nas.training.recipe import RECIPES

FINISHED = {
    "status": "finished",
    "reason": None,
    "test_accuracy": 0.9,
    "test_standard_error": 0.003,
    "train_accuracy": 0.95,
    "num_params": 4_997_194,
    "class_names": list("0123456789"),
    "hardware": "a machine",
    "settings": {"epochs": 3, "dataset": "cifar10", "image_size": 32},
}


def test_the_final_row_is_trained_with_the_recipe_paper():
    assert row_recipe(ROWS[2]) == RECIPES["paper"]
    assert row_epochs(ROWS[2]) == 200


def test_rows_that_the_paper_trained_otherwise_have_their_own_settings():
    fourth, seventh = row_recipe(ROWS[3]), row_recipe(ROWS[6])
    # "constant learning rate", "an Adam optimizer with a 0.001 learning rate"
    assert (fourth.schedule, fourth.optimizer, fourth.learning_rate) == ("constant", "adam", 0.001)
    # "a maximum learning rate around 0.30", "a factor of 3 or 4 less"
    assert (seventh.schedule, seventh.learning_rate) == ("cyclic", 0.30)
    assert seventh.floor_learning_rate == pytest.approx(0.30 / 4)


def test_few_images_get_a_smaller_batch_and_the_table_says_so():
    recipe = row_recipe(ROWS[2], num_images=2_000)
    assert recipe.batch_size < 256
    settings = {s.name: s for s in used_settings(ROWS[2], recipe, 3, "slice", {"epochs"})}
    assert settings["batch_size"].origin == "ours"
    assert "256" in settings["batch_size"].source
    assert settings["epochs"].origin == "given"
    assert settings["epochs"].value == 3
    assert settings["schedule"].origin == "row"


def test_an_override_stands_as_the_user_s_own():
    recipe = row_recipe(ROWS[2], ["batch_size=512", "dropout=0.3"], num_images=2_000)
    assert recipe.batch_size == 512
    given = {"batch_size", "dropout"}
    settings = {s.name: s for s in used_settings(ROWS[2], recipe, 3, "slice", given)}
    assert (settings["batch_size"].origin, settings["batch_size"].value) == ("given", 512)
    assert settings["dropout"].value == "0.3"
    assert "[Basic,3,64,0.3]" in settings["architecture"].value
    with pytest.raises(RecipeError, match="did you mean 'dropout'"):
        row_recipe(ROWS[2], ["dropuot=0.1"])


def test_only_the_rows_with_2x2_kernels_exceed_the_budget():
    spec = InputSpec()
    refused = [row.number for row in ROWS if "budget" in find_obstacle(row, spec, False)]
    assert refused == [1, 6]
    assert not find_obstacle(ROWS[0], spec, allow_over_budget=True)
    assert "N/A" in find_obstacle(ROWS[8], spec, allow_over_budget=True)


@pytest.mark.parametrize(
    ("row", "measured", "status", "remark"),
    [
        (ROWS[2], {}, "finished", ""),
        (ROWS[2], {"train_accuracy": 0.19}, "did not converge", "19.0% after 3 epochs, below 20%"),
        (ROWS[6], {"train_accuracy": 0.1}, "did not converge", 'the paper reports it: "Very Low"'),
        (
            ROWS[6],
            {"status": "diverged", "reason": "diverged in epoch 1", "train_accuracy": None},
            "diverged",
            'as the paper reports it: "Very Low"',
        ),
        (ROWS[6], {}, "finished", "it converged here"),
    ],
)
def test_how_a_run_ended_is_told_beside_the_paper(tmp_path, row, measured, status, remark):
    found = compare(row, FINISHED | measured, tmp_path)
    assert found.status == status
    assert remark in found.remark
    assert (found.paper_test_accuracy, found.paper_params) == (row.test_accuracy, row.num_params)


@pytest.mark.parametrize("other", [{"dataset": "cifar100"}, {"image_size": 16}])
def test_beside_other_data_the_papers_figures_are_left_out(tmp_path, other):
    settings = FINISHED["settings"] | other
    found = compare(ROWS[6], FINISHED | {"settings": settings, "train_accuracy": 0.1}, tmp_path)
    assert (found.paper_test_accuracy, found.paper_params) == (None, "")
    assert found.status == "did not converge"
    assert "paper" not in found.remark
    majority = {"class": "ok", "share": 0.8}
    found = compare(ROWS[2], FINISHED | {"majority": majority}, tmp_path)
    assert found.remark == "always answering 'ok' gives 80.00%"


def test_a_run_that_did_not_converge_says_so_last(images, tmp_path, capsys):
    # nothing is learnt at this rate: one of two classes is answered
    more = ("--epochs", "1", "--set", "learning_rate=1e-9", "--set", "floor_learning_rate=0")
    assert main(words(images, tmp_path, "4", *more)) == 0
    printed = capsys.readouterr().out
    last = printed.splitlines()[-1]
    assert last.startswith("row 4 did not converge: training accuracy")
    assert "the paper's figures are of CIFAR-10 at 32x32, and left out" in printed
    assert "Very Low" not in printed
    assert main(words(images, tmp_path, "4", *more, "--format", "json")) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["ours"]["status"] == "did not converge"
    assert found["ours"]["paper_test_accuracy"] is None
    assert found["paper"]["test_accuracy"] is None


def words(images, tmp_path, row, *more):
    data = ("--dataset", "folder", "--data", str(images), "--image-size", "8")
    return ["reproduce", row, "--studies", str(tmp_path), *data, "--device", "cpu", *more]


def test_a_row_that_diverges_is_a_result(images, tmp_path, capsys):
    more = ("--epochs", "1", "--set", "learning_rate=100", "--set", "optimizer=sgd")
    argv = words(images, tmp_path, "7", *more, "--format", "json")
    assert main(argv) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["ours"]["status"] in ("diverged", "did not converge")
    origins = {setting["name"]: setting["origin"] for setting in found["settings"]}
    assert (origins["learning_rate"], origins["schedule"]) == ("given", "row")
    assert main(argv) == 0  # it has ended: nothing is trained again
    assert "has come to its end already" in capsys.readouterr().err
    folder = tmp_path / "reproduce" / "row7-seed0"
    metrics = json.loads((folder / "metrics.json").read_text())
    other = {"status": "running", "versions": {"torch": "1.13.1"}}  # as another PyTorch left it
    (folder / "metrics.json").write_text(json.dumps(metrics | other))
    (folder / "checkpoint.pt").touch()
    assert main([*argv, "--resume"]) == 2
    assert "was begun with torch 1.13.1, and torch " in capsys.readouterr().err


@pytest.mark.slow
def test_the_final_net_is_trained_to_its_run_folder_and_table(images, tmp_path, capsys):
    assert main(words(images, tmp_path, "final", "--epochs", "1")) == 0
    printed = capsys.readouterr().out
    assert "91.46%" not in printed  # on CIFAR-10
    assert "4,997,194" in printed
    folder = tmp_path / "reproduce" / "row3-seed0"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert len(metrics["test_openings"]) == 1
    assert metrics["settings"]["recipe"]["schedule"] == "cyclic"
    (row,) = csv.DictReader((tmp_path / "reproduce" / "table.csv").read_text().splitlines())
    assert float(row["test_accuracy"]) == metrics["test_accuracy"]
    assert main(words(images, tmp_path, "final", "--epochs", "2")) == 2
    assert "epochs: 1 -> 2" in capsys.readouterr().err


def test_the_settings_of_all_rows_are_printed_without_data(capsys):
    assert main(["reproduce", "all", "--dry-run", "--format", "json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [row["row"] for row in plan] == list(range(1, 10))
    assert "--allow-over-budget" in plan[0]["obstacle"]
    assert plan[2]["obstacle"] is None
    assert "not reproducible" in plan[8]["obstacle"]
    assert {"row", "general", "ours"} == {s["origin"] for s in plan[2]["settings"]}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["reproduce", "1"], "--allow-over-budget trains it"),
        (["reproduce", "9"], "row 9 is not reproducible"),
        (["reproduce", "finl"], "did you mean 'final'"),
        (["reproduce", "3", "--set", "batch_size=0"], "batch_size"),
        (["reproduce", "3", "--epochs", "0"], "--epochs must be at least 1"),
        (["reproduce", "3", "--resume", "--restart"], "give one of them"),
    ],
)
def test_a_wrong_call_is_refused_before_the_data_are_read(argv, message, capsys):
    assert main(argv) == 2
    assert message in capsys.readouterr().err
