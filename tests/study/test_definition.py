"""A study's definition: what resumes it, what is refused, and that a refusal changes nothing."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.commands import main
from nas.errors import StorageError, UsageError
from nas.study.definition import StudyDefinition
from nas.study.folder import (
    StudyFolder,
    data_name,
    default_name,
    find_study,
    fresh_name,
    require_name,
)
from tests.support.damage import (
    CASES,
    answer,
    assert_is_a_message,
    damaged_bytes,
    damaged_texts,
    damaged_values,
)
from tests.support.searching import (
    TINY,
    Folder,
    FullDisk,
    Running,
    assert_sound,
    begin,
    snapshot,
    without_rights,
    words,
    write_images,
)
from tests.support.small_study import definition


@pytest.fixture(scope="module")
def begun(tmp_path_factory, images):
    """The folder of a study of one trial; not to be changed."""
    return begin(tmp_path_factory.mktemp("begun"), images, "--set", "momentum=0.8")


@pytest.fixture
def own(begun, folder):
    """A copy of that study, in NAS_STUDIES."""
    shutil.copytree(begun, folder.path)
    return folder


@pytest.mark.parametrize(
    ("more", "difference"),
    [
        (["--budget", "7999"], "--budget: 8000 -> 7999"),
        (["--max-macs", "1e6"], "--max-macs: none -> 1000000"),
        (["--max-activations", "1e6"], "--max-activations: none -> 1000000"),
        (["--dataset", "digits"], "--dataset: folder -> digits"),
        (["--image-size", "10"], "--image-size: 8 -> 10"),
        (["--seed", "1"], "--seed: 0 -> 1"),
        (["--recipe", "modern"], "--recipe: short -> modern"),
        (["--set", "momentum=0.9"], "--set momentum: 0.8 -> 0.9"),
        (["--set", "label_smoothing=0.2"], "--set label_smoothing: 0.1 -> 0.2"),
        (["--set", "batch_size=8"], "--set batch_size: 16 -> 8"),
        (["--epochs", "2"], "--epochs: 1 -> 2"),
        (["--pruner", "none"], "--pruner: median -> none"),
        (["--metric", "macro_f1"], "--metric: accuracy -> macro_f1"),
        (["--over-budget", "prune"], "--over-budget: resample -> prune"),
        (["--no-baselines"], "--no-baselines: not given -> given"),
        (["--no-known"], "--no-baselines: not given -> given"),  # the old name of the option
        (["--space", "resnet"], "-> resnet"),
        (["--storage", "sqlite:////tmp/x.db"], "--storage: none -> sqlite:////tmp/x.db"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_study_that_differs_is_refused_with_the_difference(
    own, images, capsys, more, difference
):
    before = snapshot(own.path)
    argv = [*words(images, trials=2), "--study", own.study_folder.name, *more]
    assert main(argv) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: study 'tiny-8k-folder' exists and was defined differently")
    assert difference in error
    assert "--study tiny-8k-folder-2" in error
    assert snapshot(own.path) == before


def rewrite(own, **values):
    """Write values into the study.json, `versions` and `plan` beside what is in them."""
    record = json.loads(own.study_folder.definition.read_text())
    merged = {
        name: record[name] | value if name in ("versions", "plan") else value
        for name, value in values.items()
    }
    own.study_folder.definition.write_text(json.dumps(record | merged))


def test_other_data_are_refused(own, images, tmp_path, capsys):
    before = snapshot(own.path)
    others = write_images(tmp_path / "folder", per_class=31)  # of the same name
    assert main(words(others, trials=2)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"begun with other images (--data: {images} -> {others})" in error
    assert "--study tiny-8k-folder-2" in error
    assert snapshot(own.path) == before


def test_a_study_from_before_images_were_read_otherwise_is_told_so(own, tmp_path, capsys):
    others = write_images(tmp_path / "others", per_class=31)
    for data, version in ((others, "0.2.0"), (others, "0.1.0")):
        rewrite(own, versions={"nas": version})
        assert main(words(data, "--study", own.study_folder.name, trials=2)) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert ("images are read otherwise since 0.2" in error) == (version == "0.1.0")
        assert "begin another with --study tiny-8k-folder-2" in error


@pytest.mark.parametrize("given", [True, False], ids=["--space", "the study's own file"])
def test_a_space_that_was_edited_is_refused_with_what_changed(
    own, images, tmp_path, capsys, given
):
    edited, text = tmp_path / "tiny.py", Path(TINY).read_text()
    text = text.replace("widths=(8, 16)", "widths=(8, 24)").replace(
        "depths=(1, 2)", "depths=(1, 2, 3)"
    )
    edited.write_text(
        text.replace("num_stages=(1, 2), stages=(STAGE,) * 2", "stages=(STAGE,) * 3")
    )
    argv = words(images, trials=2, space=str(edited))
    if not given:
        rewrite(own, space=str(edited))  # as if it had been begun with this file
    before = snapshot(own.path)
    assert main(argv) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    for change in (
        "num_stages: 1, 2 -> 3",
        "stage2_depth: 1, 2 -> 1-3",
        "stage2_width: 8, 16 -> 8, 24",
        "stage3_kind: none -> basic, bottleneck",
    ):
        assert change in error
    assert "hash" not in error
    assert "stage1_kind" not in error
    assert (f"--space: {TINY} -> {edited} (" in error) == given
    assert "--study tiny-8k-folder-2" in error
    assert snapshot(own.path) == before


def test_a_study_from_before_its_choices_were_recorded_goes_on_while_they_are_the_same(
    own, images, tmp_path, capsys
):
    edited = tmp_path / "tiny.py"
    edited.write_text(Path(TINY).read_text())
    record = json.loads(own.study_folder.definition.read_text())
    del record["space_lists"]
    own.study_folder.definition.write_text(json.dumps(record | {"space": str(edited)}))
    argv = ["search", "--study", own.study_folder.name, "--space", str(edited), "--dry-run"]
    assert main(argv) == 0
    edited.write_text(Path(TINY).read_text().replace("(8, 16)", "(8, 24)"))
    assert main(argv) == 2
    assert f"its space {edited} was changed (how is not recorded)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"plan": {"epochs": 0}}, "epochs must be a whole number in [1, 1e+06], but got 0"),
        ({"plan": {"val_images": 0}}, "val_images must be a positive whole number"),
        ({"plan": {"num_threads": 10**9}}, "num_threads must be a whole number in [1, 4096]"),
        ({"budget": 10**400}, "budget must be a positive whole number, at most 1e+18"),
        ({"max_macs": 0}, "max_macs must be a positive whole number"),
        ({"seed": -1}, "seed must be a whole number in [0, inf), but got -1"),
        ({"val_fraction": 10**400}, "val_fraction must be a number in (0, 1)"),
        ({"audit": 9.0}, "audit must be a number in [0, 1], but got 9.0"),
        ({"metric": "f1"}, "unknown metric 'f1'"),
        ({"class_counts": {"cat": 1.5}}, "class_counts must be whole numbers"),
        ({"class_counts": {"cat": -1}}, "class_counts must be whole numbers"),
        ({"class_counts": {"cat": 0}}, "class_counts must be whole numbers, not all 0"),
        ({"metric": "macro_f1", "class_counts": {}}, "metric macro_f1 needs the class_counts"),
        ({"over_budget": "nosuch"}, "unknown over_budget 'nosuch'; known: prune, resample"),
        ({"pruner": "medan"}, "did you mean 'median'"),
    ],
    ids=str,
)
def test_a_definition_out_of_range_is_one_message_with_the_rule(own, images, capsys, values, rule):
    rewrite(own, **values)
    for command in (words(images, trials=2), ["worker"], ["status"]):
        assert main(command) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert "study.json is damaged and was left as it is: " in error
        assert rule in error
        assert len(error) < 500


def test_a_study_of_a_newer_version_is_one_line(own, images, capsys):
    rewrite(own, schema=99)
    for command in (words(images, trials=2), ["worker"], ["status"], ["best"]):
        assert main(command) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert "was written by a newer version (schema 99, this one reads 1)" in error
        assert "damaged" not in error


def test_a_study_of_another_pytorch_is_read_but_not_resumed(own, images, capsys):
    rewrite(own, versions={"torch": "1.13.1+cu117"})
    before = snapshot(own.path)
    for command in (words(images, trials=2), ["worker"]):
        assert main(command) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"was begun with torch 1.13.1+cu117, and torch {torch.__version__} here" in error
        assert "Install torch 1.13 " in error
        assert "--study tiny-8k-folder-2" in error
    for command in (["status"], ["best"], ["show", "0"]):
        assert main(command) == 0
        assert "torch" not in capsys.readouterr().err
    assert snapshot(own.path) == before


def test_other_differences_of_versions_are_said_once(own, images, capfd):
    series = ".".join(torch.__version__.split(".")[:2])
    rewrite(own, versions={"torch": f"{series}.99", "python": "3.0.0", "nas": "0.0.1"})
    for command in (["worker"], [*words(images, trials=2), "--workers", "2"]):
        assert main(command) == 0
        error = capfd.readouterr().err
        assert error.count("the study was begun with nas 0.0.1 (here ") == 1
        assert "python 3.0.0 (here " in error
        assert f"torch {series}.99 (here {torch.__version__})" in error
        assert "optuna" not in error


def test_the_same_space_and_data_elsewhere_are_the_same_study(own, images, tmp_path):
    moved = tmp_path / "tiny.py"
    moved.write_text(Path(TINY).read_text())
    data = shutil.copytree(images / "train", tmp_path / "folder" / "train").parent
    assert main(words(data, trials=2, space=str(moved))) == 0
    assert_sound(own, 2)


def test_what_is_not_given_comes_from_the_study(own):
    argv = ["search", "--study", own.study_folder.name, "--trials", "2", "--workers", "1"]
    assert main(argv) == 0
    assert_sound(own, 2)
    assert main([*argv, "--set", "momentum=0.8", "--epochs", "1", "--seed", "0"]) == 0


def test_data_named_from_the_home_folder_are_found_again(folder, images, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(images.parent))  # no shell unfolds `--data=~/images`
    assert main(words(f"~/{images.name}", trials=1)) == 0
    assert folder.definition()["data_dir"] == str(images)
    again = ["search", "--study", folder.study_folder.name, "--trials", "2", "--workers", "1"]
    assert main(again) == 0


def test_a_study_with_a_journal_stays_in_it_whatever_the_environment_says(
    own, images, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("NAS_STORAGE", f"sqlite:///{tmp_path}/another.db")
    for command in (["status"], ["best"], ["worker"], words(images, trials=2)):
        capsys.readouterr()
        assert main(command) == 0
    assert "note: $NAS_STORAGE is for new studies" in capsys.readouterr().err
    assert main(words(images, "--seed", 9, trials=2)) != 0  # refused
    assert "note: $NAS_STORAGE is for new studies" in capsys.readouterr().err
    assert not (tmp_path / "another.db").exists()
    monkeypatch.delenv("NAS_STORAGE")
    assert_sound(own, 2)


def test_a_new_study_is_begun_where_the_environment_says_and_stays_there(
    folder, images, tmp_path, monkeypatch, capsys
):
    url = f"sqlite:///{tmp_path}/x.db"
    monkeypatch.setenv("NAS_STORAGE", url)
    assert main(words(images, trials=1)) == 0
    assert folder.definition()["storage"] == url
    assert not folder.study_folder.journal.exists()
    monkeypatch.setenv("NAS_STORAGE", f"sqlite:///{tmp_path}/another.db")
    capsys.readouterr()
    assert main(words(images, trials=2)) == 0
    assert f"stays in {url}" in capsys.readouterr().err
    assert not (tmp_path / "another.db").exists()
    monkeypatch.delenv("NAS_STORAGE")
    assert_sound(folder, 2)


def test_a_worker_says_which_study_it_took_where_none_was_named(own, capsys):
    assert main(["worker"]) == 0
    shown = capsys.readouterr()
    assert shown.err == f"study: {own.study_folder.name}\n"
    assert shown.out == "finished\n"


def test_a_renamed_folder_stays_a_study(own, capsys):
    own.study_folder.path.rename(own.path / "renamed")
    assert main(["search", "--study", "renamed", "--trials", "2", "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert "study     renamed (exists, resumed)" in printed.err
    assert "retrain --best --study renamed" in printed.out
    assert main(["search", "--study", "renamed", "--seed", "5"]) == 2
    assert "study 'renamed' exists" in capsys.readouterr().err
    assert_sound(Folder(own.path, "renamed"), 2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"schema": 1', '"schema": "1"'),
        lambda text: text.replace('"versions": {', '"versions": ' + "[" * 1_500 + "{"),
        lambda text: text.replace('"budget": 8000', '"budget": "many"'),
        lambda text: text.replace('"budget": 8000', '"budget": -1'),
        lambda text: text.replace('"seed": 0,', ""),
        lambda text: text.replace('"epochs": 1', '"epochs": null'),
        lambda text: text.replace('"momentum"', '"momentous"'),
        lambda text: text.replace('"plan": {', '"plan": 5, "x": {'),
        lambda text: "\udcff",
    ],
)
def test_a_damaged_definition_is_one_message_and_stays_as_it_is(own, images, capsys, damage):
    path = own.study_folder.definition
    path.write_text(damage(path.read_text()), errors="surrogateescape")
    before = snapshot(own.path)
    for command in (words(images, trials=2), ["status", "--study", own.study_folder.name]):
        assert main(command) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        assert "study.json is damaged" in error
    assert snapshot(own.path) == before


def test_a_journal_without_its_definition_is_said(own, images, capsys):
    own.study_folder.definition.unlink()
    before = snapshot(own.path)
    assert main(words(images, trials=2)) == 1
    assert "no study.json" in capsys.readouterr().err
    assert snapshot(own.path) == before


@pytest.mark.parametrize("closed", ["studies", "study", "definition", "journal"])
def test_without_the_permission_nothing_is_written_and_that_is_said(own, images, tmp_path, closed):
    path = {
        "studies": own.path,
        "study": own.study_folder.path,
        "definition": own.study_folder.definition,
        "journal": own.study_folder.journal,
    }[closed]
    for child in (own.study_folder.workers, *own.study_folder.workers.iterdir()):
        child.chmod(0o555)
    more = ["--study", "another"] if closed == "studies" else []
    before = snapshot(own.path)
    mode = path.stat().st_mode
    path.chmod(0o000 if path.is_file() else 0o555)
    try:
        running = Running([*words(images, trials=2), *more], tmp_path / "out", without_rights)
        assert running.wait() == 1
    finally:
        path.chmod(mode)
    error = running.errors().splitlines()[-1]
    assert error.startswith("error: ")
    assert "ermission" in error
    assert "Traceback" not in running.errors()
    assert snapshot(own.path) == before


def test_a_new_study_for_which_the_disk_is_too_full_leaves_nothing(folder, images, tmp_path):
    assert main([*words(images), "--dry-run"]) == 0  # the cache of the data is not the study's
    running = Running(words(images, trials=2), tmp_path / "out", FullDisk(1_200))
    assert running.wait() == 1, running.errors()
    error = running.errors().splitlines()[-1]
    assert error.startswith("error: ")
    assert "too large" in error
    assert not folder.path.exists()


@pytest.mark.parametrize("num_bytes", [5_000, 12_000])
def test_a_disk_that_fills_during_the_search_costs_nothing_that_was_measured(
    folder, images, tmp_path, num_bytes
):
    running = Running(words(images, trials=4), tmp_path / "out", FullDisk(num_bytes))
    assert running.wait() == 1, running.errors()
    error = running.errors().splitlines()[-1]
    assert error.startswith("error: ")
    assert "Traceback" not in running.errors()
    measured = {trial.number: trial.value for trial in folder.trials() if trial.value is not None}
    assert main(words(images, trials=4)) == 0
    trials = assert_sound(folder, 4)
    assert {number: trials[number].value for number in measured} == measured


@pytest.mark.slow
@pytest.mark.parametrize("size", ["4k", "8k", "16k"])  # the definition, the journal's first page
def test_a_file_system_that_is_full_in_truth_is_one_message(folder, images, tmp_path, size):
    assert main([*words(images), "--dry-run"]) == 0
    folder.path.mkdir(parents=True)
    if os.system(f"mount -t tmpfs -o size={size} tmpfs {folder.path} 2>/dev/null") != 0:
        pytest.skip("this process may not mount")
    try:
        running = Running(words(images, trials=9), tmp_path / "out")
        assert running.wait() == 1
        assert "No space left" in running.errors().splitlines()[-1]
        assert "Traceback" not in running.errors()
        assert size != "4k" or not list(folder.path.iterdir())
    finally:
        os.system(f"umount {folder.path}")


@pytest.mark.parametrize(
    ("space", "budget", "name"),
    [
        ("resnet", 5_000_000, "resnet-5M-cifar10"),
        ("resnet", 300_000, "resnet-300k-cifar10"),
        ("a/b/my space.py", 12_345, "my-space-12345-cifar10"),
    ],
)
def test_a_study_has_a_name_that_folders_and_urls_can_hold(space, budget, name):
    assert default_name(space, budget, "cifar10") == name == require_name(name)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/home/me/pets", "pets"),
        ("/home/me/My Pets (2)", "My-Pets--2-"),
        ("/home/me/.hidden", "hidden"),
        ("/home/me/cifar10", "cifar10-folder"),  # not the data set of that name
        ("/home/me/" + "x" * 200, "x" * 40),
        ("/home/me/猫", "folder"),
        ("/", "folder"),
    ],
)
def test_a_study_of_a_users_folder_is_called_after_it(folder, name):
    study = default_name("resnet", 300_000, data_name("folder", Path(folder)))
    assert study == f"resnet-300k-{name}".rstrip("-") == require_name(study)


def test_a_study_from_before_folders_had_names_is_found_by_the_same_command(
    begun, folder, images, tmp_path
):
    shutil.copytree(begun, folder.path)
    pets = shutil.copytree(images, tmp_path / "pets")
    text = folder.study_folder.definition.read_text()
    folder.study_folder.definition.write_text(text.replace(str(images), str(pets)))
    assert main(words(pets, "--set", "momentum=0.8", trials=2)) == 0
    assert_sound(folder, 2)  # `tiny-8k-folder`, as it was called
    cars = write_images(tmp_path / "cars", per_class=31)
    assert main(words(cars, "--dry-run")) == 0  # other data do not meet it
    assert main(words(cars, trials=1)) == 0
    assert {path.name for path in folder.path.iterdir()} == {"tiny-8k-folder", "tiny-8k-cars"}


@pytest.mark.parametrize("name", ["retrain", "reproduce", "lr-range", "dropout"])
def test_a_name_that_another_command_writes_under_is_refused(name, folder, images, capsys):
    assert main([*words(images), "--study", name]) == 2
    assert f"'{name}' is where another command keeps its results" in capsys.readouterr().err
    assert not folder.path.exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "a b", "x" * 101, "a\n"])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError):
        require_name(name)


def test_the_study_that_was_written_last_is_the_one_meant(tmp_path):
    with pytest.raises(UsageError, match="search --budget 5e6` begins a study"):
        find_study(tmp_path, None)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "study.json").write_text(json.dumps({}))
        os.utime(tmp_path / name / "study.json", (1000, 1000 + ord(name)))
    (tmp_path / "retrain").mkdir()
    assert find_study(tmp_path, None).name == "c"
    (tmp_path / "a" / "journal.log").write_text("")
    assert find_study(tmp_path, None).name == "a"
    (tmp_path / "b" / "trials").mkdir()  # a study in a database has no journal
    later = (tmp_path / "a" / "journal.log").stat().st_mtime + 1
    os.utime(tmp_path / "b" / "trials", (later, later))
    assert find_study(tmp_path, None).name == "b"
    assert find_study(tmp_path, "c").name == "c"
    with pytest.raises(UsageError, match=r"unknown study 'd'.*a, b, c"):
        find_study(tmp_path, "d")
    assert fresh_name(tmp_path, "a") == "a-2"


DEFINITIONS = [
    definition().to_json(),
    definition(budget=9_000, targets=(3_000, 9_000), space_lists={"num_stages": [1, 2]}).to_json(),
]
DAMAGED = (
    damaged_values([json.loads(text) for text in DEFINITIONS]).map(json.dumps)
    | damaged_texts(DEFINITIONS)
).map(lambda text: text.encode(errors="surrogatepass")) | damaged_bytes(DEFINITIONS[0].encode())


@CASES
@given(DAMAGED)
def test_a_damaged_definition_is_a_study_or_one_message(tmp_path_factory, content):
    folder = StudyFolder(tmp_path_factory.getbasetemp() / "damaged")
    folder.path.mkdir(exist_ok=True)
    folder.definition.write_bytes(content)
    try:
        found = folder.load()
    except StorageError as error:
        assert_is_a_message(error)
        return
    assert StudyDefinition.from_json(found.to_json()).to_json() == found.to_json()


@pytest.mark.slow
@CASES
@given(data=st.data())
def test_about_a_damaged_definition_every_command_answers_with_words(begun, images, data):
    path = begun / "tiny-8k-folder" / "study.json"
    whole = path.read_bytes()
    record = data.draw(damaged_values([json.loads(whole)]))
    path.write_text(json.dumps(record))
    before = snapshot(begun)
    try:
        for command in (["status"], ["best"], ["show", "0"], words(images, "--dry-run")):
            answer([*command, "--studies", str(begun)])
            assert snapshot(begun) == before
    finally:
        path.write_bytes(whole)
