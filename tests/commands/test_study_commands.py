"""`status`, `best`, `show TRIAL` and `count FILE` on a study that a real search wrote."""

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState

from nas.commands import main
from nas.network.architecture import Architecture
from nas.network.model import build_model
from tests.support.errors import wilson_error
from tests.support.small_study import (
    add_trial,
    copy_studies,
    create_study,
    net,
    searched_studies,
    snapshot,
)

STUDY = "tiny-8k-digits"


def call(capsys, *words, studies=None, code=0):
    """What a command prints to standard output and standard error."""
    capsys.readouterr()
    assert main([*words, "--studies", str(studies or searched_studies())]) == code
    return capsys.readouterr()


def record(capsys, *words, **options):
    return json.loads(call(capsys, *words, "--format", "json", **options).out)


def test_the_most_recent_study_is_taken_and_named_on_standard_error(capsys):
    printed = call(capsys, "best")
    assert f"study: {STUDY}" in printed.err
    assert "study:" not in printed.out
    assert "study:" not in call(capsys, "best", "--study", STUDY).err


def test_status_counts_what_the_search_did(capsys):
    status = record(capsys, "status")
    assert status["target_trials"] == 5
    assert status["funnel"]["counted"] == 5
    assert status["seconds_left"] == 0
    text = call(capsys, "status").out
    assert "trained   5 of 5" in text
    assert "the study has its trials" in text
    assert len(text.splitlines()) < 24  # one screen


def test_best_has_accuracies_with_errors_and_parameters_that_pytorch_counts(capsys):
    best = record(capsys, "best", "--top", "3")
    assert len(best["top"]) == 3
    spec = json.loads((searched_studies() / STUDY / "study.json").read_text())
    assert spec["plan"]["val_images"] == best["val_images"]
    for entry in best["top"]:
        accuracy = entry["val_accuracy"]
        num_images = best["val_images"]
        error = wilson_error(accuracy * num_images, num_images)
        assert entry["standard_error"] == pytest.approx(error)
        from nas.network.architecture import InputSpec

        model = build_model(Architecture.from_dict(entry["architecture"]), InputSpec(1, 8, 10))
        assert entry["num_params"] == sum(p.numel() for p in model.parameters()) <= 8_000
    sizes = [entry["num_params"] for entry in best["front"]]
    accuracies = [entry["val_accuracy"] for entry in best["front"]]
    assert sizes == sorted(sizes)
    assert accuracies == sorted(accuracies)
    assert best["difference"] is not None  # the baseline fits


def test_best_takes_a_smaller_budget_and_says_where_nothing_fits(capsys):
    sizes = sorted(entry["num_params"] for entry in record(capsys, "best", "--top", "9")["top"])
    smaller = record(capsys, "best", "--budget", str(sizes[1]), "--top", "9")
    assert [entry["num_params"] for entry in smaller["top"]] == sorted(
        (size for size in sizes if size <= sizes[1]),
        key=[entry["num_params"] for entry in smaller["top"]].index,
    )
    none = record(capsys, "best", "--budget", "10", code=1)
    assert none["best"] is None
    text = f"the smallest that was has {sizes[0]:,}"
    assert text in none["no_best"]
    assert text in call(capsys, "best", "--budget", "10", code=1).out
    assert "nothing larger was trained" in call(capsys, "best", "--budget", "1M").err


def test_show_a_trial_is_at_its_studys_input(capsys):
    top = record(capsys, "best")["top"][0]
    shown = record(capsys, "show", str(top["trial"]))
    assert shown["num_params"] == top["num_params"]
    assert shown["id"] == top["id"]
    assert shown["architecture"] == top["architecture"]
    assert shown["trial"]["val_accuracy"] == top["val_accuracy"]
    assert shown["input_spec"] == {"channels": 1, "image_size": 8, "num_classes": 10}
    text = call(capsys, "show", str(top["trial"])).out
    assert text.startswith(f"trial {top['trial']} of study {STUDY}")
    assert "8x8" in text
    wider = record(capsys, "show", str(top["trial"]), "--classes", "100")
    assert wider["num_params"] > shown["num_params"]


def test_show_a_name_at_a_studys_input(capsys):
    assert record(capsys, "show", "resnet20", "--study", STUDY)["num_params"] == (
        272_282 - 2 * 9 * 16  # He's ResNet-20 with one channel instead of three
    )


def test_show_an_unknown_trial_says_which_there_are(capsys):
    assert "they are 0 to 4" in call(capsys, "show", "99", code=2).err


def test_every_state_of_a_trial_is_shown_and_counted(tmp_path, capsys):
    _, study = create_study(tmp_path)
    add_trial(study, net(8), (0.3, 0.5))
    add_trial(study, net(12), (0.2,), TrialState.PRUNED)
    add_trial(study, net(32, 4), state=TrialState.PRUNED, reason="over budget: 76,000")
    add_trial(study, net(16), (0.1,), TrialState.FAIL, reason="killed")
    add_trial(study, net(24), value=0.0, reason="diverged in epoch 1 of 4: loss nan")
    study.tell(study.ask(), state=TrialState.FAIL)
    add_trial(study, net(4), (0.4,), TrialState.RUNNING)
    study.enqueue_trial({"width0": 8})
    words = ["complete", "pruned", "rejected", "failed", "broken"]
    for number, word in enumerate(words):
        text = call(capsys, "show", str(number), studies=tmp_path).out
        assert text.splitlines()[1].startswith(word)
    assert "no network" in call(capsys, "show", "5", studies=tmp_path, code=2).err
    assert "running" in call(capsys, "show", "6", studies=tmp_path).out
    funnel = record(capsys, "status", studies=tmp_path)["funnel"]
    assert {name: funnel[name] for name in ("complete", "pruned", "broken", "failed")} == {
        "complete": 1,
        "pruned": 1,
        "broken": 1,
        "failed": 2,
    }
    assert (funnel["counted"], funnel["num_over_budget"], funnel["waiting"]) == (3, 1, 1)
    assert record(capsys, "best", studies=tmp_path)["best"]["trial"] == 0


def test_what_a_study_holds_does_not_reach_the_terminal_as_it_is(tmp_path, capsys):
    text = "\x1b[2J\x9b1m\r\u202e\n"
    _, study = create_study(tmp_path, space=text, dataset=text)
    study.set_user_attr("sampler", text)
    add_trial(study, net(8), (0.3, 0.5), source="known", known_name=text, notation=text)
    add_trial(study, net(12), (0.2, 0.4), source=text, notation=text)
    add_trial(study, net(16), (0.1,), TrialState.FAIL, reason=text)
    add_trial(study, net(24), value=0.0, reason=f"diverged {text}")
    for words in ("status", "best", "show 0", "show 2", "show 3"):
        printed = call(capsys, *words.split(), studies=tmp_path)
        shown = (printed.out + printed.err).replace("\n", "")
        assert shown.isprintable(), words
        assert r"\x1b[2J\x9b1m\r\u202e\n" in shown
    printed = call(capsys, "retrain", "--trial", "2", studies=tmp_path, code=2).err
    assert r"note: trial 2 failed: \x1b[2J\x9b1m\r\u202e\n" in printed
    assert printed.replace("\n", "").isprintable()
    name = "mine\x1b]0;not mine\x07"
    create_study(tmp_path, name=name)
    refused = call(capsys, "status", "--study", name, studies=tmp_path, code=1).err
    assert r"mine\x1b]0;not mine\x07" in refused
    assert refused.replace("\n", "").isprintable()


def test_a_study_without_trials_can_be_looked_at(tmp_path, capsys):
    create_study(tmp_path)
    assert "trained   0 of 200" in call(capsys, "status", studies=tmp_path).out
    assert "trained to its end yet" in call(capsys, "status", studies=tmp_path).out
    assert "yet" in call(capsys, "best", studies=tmp_path, code=1).out
    assert record(capsys, "best", studies=tmp_path, code=1)["front"] == []


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_line_about_a_study_or_a_space_is_wider_than_the_terminal(
    columns, tmp_path, monkeypatch, capsys
):
    _, study = create_study(tmp_path)
    add_trial(study, net(8), (0.90,), source="known", known_name="baseline")
    for depth, value in ((1, 0.91), (2, 0.905), (3, 0.9)):
        add_trial(study, net(16, depth), (value,))
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NAS_STUDIES", str(tmp_path))
    for line in (
        *("status", "best", "best --question", "show 1", "show final", "show row7"),
        *("presets", "spaces", "study", "count resnet20", "reproduce final --dry-run"),
    ):
        assert main(line.split()) == 0
        printed = capsys.readouterr().out
        wide = [text for text in printed.splitlines() if len(text) > columns]
        paths = [text for text in wide if str(tmp_path) not in text]  # one word, not broken
        assert paths == [], line


def test_the_papers_question_stands_for_its_data_or_when_asked(tmp_path, capsys):
    for name, dataset in (("ours", "digits"), ("paper", "cifar10")):
        _, study = create_study(tmp_path, name=name, dataset=dataset)
        add_trial(study, net(8), (0.9,))
        for command, is_asked in (("best", False), ("status", False), ("best --question", True)):
            printed = call(capsys, *command.split(), "--study", name, studies=tmp_path).out
            assert ("paper's question" in printed) == (is_asked or dataset == "cifar10")
        assert "question" in record(capsys, "best", "--study", name, studies=tmp_path)


def test_a_renamed_folder_goes_by_its_new_name(tmp_path, capsys):
    folder, study = create_study(tmp_path, name="before")
    add_trial(study, net(8), (0.9,))
    folder.path.rename(tmp_path / "after")
    assert "study     after in" in call(capsys, "status", studies=tmp_path).out
    assert "of study after," in call(capsys, "show", "0", studies=tmp_path).out
    refused = call(capsys, "show", "7", "--study", "after", studies=tmp_path, code=2).err
    assert "study 'after' has no trial 7" in refused
    for words in (("status",), ("best",)):
        assert record(capsys, *words, studies=tmp_path)["study"] == "after"
    unknown = call(capsys, "status", "--study", "before", studies=tmp_path, code=2).err
    assert "known: after" in unknown


def test_where_no_study_is_the_place_that_was_looked_at_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAS_STUDIES", str(tmp_path / "none"))
    for words in (["status"], ["status", "--study", "mine"]):
        assert main(words) == 2
        printed = capsys.readouterr().err
        assert f"in {tmp_path / 'none'}; --studies DIR or $NAS_STUDIES" in printed
    create_study(tmp_path / "none")
    assert main(["status", "--study", "mine"]) == 2
    assert f"looked in {tmp_path / 'none'}: --studies DIR" in capsys.readouterr().err


def test_a_count_for_an_assumed_input_says_so(capsys):
    # ResNet-20 on CIFAR-10 has 272,282; of 100 classes 90 times 64 weights and a bias more
    for given, number, text in (
        ([], 272_282, "3x32x32 and 10 classes; --channels, --image-size and --classes were not"),
        (["--classes", "100"], 278_132, "100 classes; --channels and --image-size were not given"),
        (["--classes", "100", "--channels", "3", "--image-size", "32"], 278_132, ""),
    ):
        for command in ("count", "show"):
            assert main([command, "resnet20", *given]) == 0
            printed = capsys.readouterr().out
            assert f"{number:,}" in printed
            assert text in printed
            assert ("assumed" in printed) == bool(text)
            assert main([command, "resnet20", *given, "--format", "json"]) == 0
            assert bool(json.loads(capsys.readouterr().out)["assumed"]) == bool(text)
    for what in ("resnet20", "0"):
        assert "assumed" not in call(capsys, "show", what, "--study", STUDY).out


def test_count_and_show_read_a_run_folders_architecture(tmp_path, capsys):
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps(net(16).to_dict(), indent=2) + "\n")  # as `retrain` writes it
    assert main(["count", str(path), "--channels", "1", "--format", "json", "--total"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert main(["show", str(path), "--channels", "1", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert counted["num_params"] == shown["num_params"]
    # stem 3x3x16 + bn 32, block two 3x3x16x16 + bn 64, linear 16 x 10 + 10
    assert counted["num_params"] == 9 * 16 + 32 + 2 * 9 * 16 * 16 + 64 + 170


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("best",),
        ("show", "0"),
        ("show", "final"),
        ("count", "final"),
        ("presets",),
        ("spaces",),
        ("spaces", "resnet", "--budget", "5e6"),
    ],
    ids=" ".join,
)
def test_with_format_json_nothing_else_is_on_standard_output(words, capsys, monkeypatch):
    monkeypatch.setenv("NAS_STUDIES", str(searched_studies()))
    assert main([*words, "--format", "json"]) == 0
    json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(text))


def test_looking_changes_nothing(tmp_path, capsys):
    studies = copy_studies(tmp_path / "studies")
    before = snapshot(studies)
    for words in (("status",), ("best",), ("show", "0"), ("show", "final", "--study", STUDY)):
        call(capsys, *words, studies=studies)
    assert snapshot(studies) == before


@pytest.mark.parametrize("damage", ["cut", "garbage", "absent", "empty", "list", "other schema"])
@pytest.mark.parametrize("command", ["status", "best", "show 0", "retrain --best", "dashboard"])
def test_a_damaged_study_is_one_message_and_stays_as_it_is(damage, command, tmp_path, capsys):
    studies = copy_studies(tmp_path / "studies")
    definition, journal = studies / STUDY / "study.json", studies / STUDY / "journal.log"
    match damage:
        case "cut":
            definition.write_text(definition.read_text()[:200])
        case "garbage":
            lines = journal.read_text().splitlines()
            journal.write_text("\n".join([*lines[:5], "{half", *lines[5:]]) + "\n")
        case "absent":
            journal.unlink()
        case "empty":
            journal.write_text("")
        case "list":
            definition.write_text("[]")
        case _:
            definition.write_text(definition.read_text().replace('"schema": 1', '"schema": 99'))
    before = snapshot(studies)
    printed = call(capsys, *command.split(), studies=studies, code=1)
    assert printed.out == ""
    assert printed.err.count("error:") == 1
    assert str(Path(STUDY)) in printed.err
    assert snapshot(studies) == before
