"""Wrong calls, over the whole command line: one message, the right exit code, nothing changed."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from PIL import Image

from nas.commands import main
from tests.support.damage import CASES, answer, damaged_words
from tests.support.small_study import SPACE, copy_studies, snapshot

BUDGETS = ["0", "-5", "2.5", "nan", "inf", "many", "", " ", "5e", "1e30", "٣"]
STUDY = "tiny-8k-digits"
SEARCH = f"search --space {SPACE} --dataset digits --device cpu"
NEW = f"{SEARCH} --budget 8k --study other"

# the words of a call, and what its one message must say
WRONG_CALLS = {
    "serch": "did you mean 'search'",
    "nonsense": "unknown command 'nonsense'; known: ",
    "search": "--budget",
    f"{SEARCH} --budget 10": "the smallest",
    "search --space resnt --budget 5e6": "did you mean 'resnet'",
    "search --space nowhere.py --budget 5e6": "nowhere.py",
    "search --dataset digit --budget 5e6": "did you mean 'digits'",
    f"{NEW} --sampler tp": "did you mean 'tpe'",
    f"{NEW} --pruner medan": "did you mean 'median'",
    f"{NEW} --recipe shrt": "did you mean 'short'",
    f"{NEW} --set learning_rat=1": "did you mean 'learning_rate'",
    f"{NEW} --set learning_rate": "field=value",
    f"{NEW} --set learning_rate=quick": "learning_rate",
    f"{NEW} --device gpu": "cuda",
    f"{NEW} --device cuda:99": "cuda:99",
    f"{NEW} --trials 0": "trials",
    f"{NEW} --trials -3": "trials",
    f"{NEW} --trials 2.5": "trials",
    f"{NEW} --epochs 0": "--epochs must be at least 1",
    f"{NEW} --epochs -1": "--epochs must be at least 1",
    f"{NEW} --epochs two": "--epochs",
    f"{NEW} --workers 0": "--workers must be at least 1",
    f"{NEW} --workers 1000000000": "--workers must be at most 1000, but got 1000000000",
    f"{NEW} --seed -1": "--seed must be at least 0",
    f"{NEW} --time-limit soon": "2h",
    f"{NEW} --gpu-hours 0": "0.5",
    f"{NEW} --hours none": "above zero, at most 1e+06, but got 'none'",
    f"{NEW} --hours 1e308": "above zero, at most 1e+06, but got '1e308'",
    f"{NEW} --hours 1 --time-limit 2h": "give it or --time-limit, not both",
    f"{NEW} --hours 1e-9 --rungs 2x9": "2 of 1 trial;",
    f"{NEW} --gpu-hours 2h": "none for no limit",
    f"{NEW} --max-macs -1": "max-macs",
    f"{NEW} --audit 5%": "write 5% as 0.05",
    f"{NEW} --targets 4k,9k": "the largest target must be the budget",
    f"{NEW} --targets 8k,8k": "two or more different budgets",
    f"{NEW} --targets 8k,10": "the smallest",
    f"{SEARCH} --budget 8k --targets 4k,8k": "--targets: none -> 4000,8000",
    f"{NEW} --audit 1.5": "between 0 and 1",
    f"{NEW} --audit nan": "between 0 and 1",
    f"{NEW} --audit 0.1 --pruner none": "stops nothing",
    f"{SEARCH} --budget 8k --audit 0.1": "audit: 0.0 -> 0.1",
    f"{NEW} --rungs 24": "COUNTxEPOCHS",
    f"{NEW} --rungs 6x100,24x30": "fewer networks than the one below it",
    f"{NEW} --rungs 24x100,6x30": "longer than the one below it",
    f"{NEW} --epochs 2 --rungs 24x2": "2 epochs and a trial of this study 2",
    f"{NEW} --epochs 2 --rungs 2x3x2000": "2,000 training images, but there are 1,294",
    f"{NEW} --epochs 2 --rungs 2x900x5 --dry-run": "10 to 1,294 images here, but it is to have 5;",
    f"{SEARCH} --budget 8k --rungs 2x900x5": "10 to 1,294 images here, but it is to have 5;",
    f"{NEW} --trials 24 --epochs 2 --rungs 24x3": "24 of 24 trials",
    f"{SEARCH} --budget 8k --rungs 24x2 --dry-run": "24 of 5 trials",
    f"{SEARCH} --budget 8k --rungs 2x2": "2 epochs and a trial of this study 2",
    f"{SEARCH} --budget 8k --rungs 4x9 --trials 3": "4 of 3 trials",
    f"{NEW} --over-budget shrink": "resample",
    f"{NEW} --trails 5": "did you mean --trials",
    f"{NEW} --study ../outside": "study's name",
    f"{SEARCH} --budget 8k --epochs 3": "epochs: 2 -> 3",
    f"{SEARCH} --study {STUDY} --budget 9k": "budget: 8000 -> 9000",
    "status --study tiny-8k-digit": f"did you mean '{STUDY}'",
    "best --study tiny-8k-digit": f"did you mean '{STUDY}'",
    "dashboard --study tiny-8k-digit": f"did you mean '{STUDY}'",
    "retrain --best --study tiny-8k-digit": f"did you mean '{STUDY}'",
    "retrain --arch final --study tiny-8k-digit": f"did you mean '{STUDY}'",
    "show 1 --study tiny-8k-digit": f"did you mean '{STUDY}'",
    "status --studies nowhere": "nowhere; --studies DIR or $NAS_STUDIES",
    "best --top 0": "--top must be at least 1",
    "best --top -1": "--top must be at least 1",
    "best --format xml": "json",
    "retrain": "--best",
    "retrain --best --trial 1": "not allowed",
    "retrain --trial -1": "no trial -1",
    "retrain --best --seeds 1000000000": "--seeds must be at most 1000",
    "retrain --trial x": "--trial",
    "dashboard --port -1": "--port must be 0 to 65535",
    "count finl": "did you mean 'final'",
    "count": "NAME|FILE|RUN_FOLDER|NOTATION",
    "count final --stem conv3x": "did you mean 'conv3x3'",
    "count final --channels 0": "channels",
    "count final --image-size -1": "image_size",
    "count row1 --image-size 9": "stage",
    "count [[Basic,3]]": "[[Basic,3]]",
    "count [[Basc,3,64]]": "did you mean 'basic'",
    "count nowhere.json": "nowhere.json",
    "lr-range-test": "ARCH",
    "lr-range-test finl --dataset digits": "did you mean 'final'",
    "lr-range-test final --dataset digit": "did you mean 'digits'",
    "lr-range-test final --dataset digits --steps 3": "--steps must be at least 20",
    f"lr-range-test final --dataset digits --steps {10**19}": "--steps must be at most 1000000",
    "lr-range-test row1 --dataset digits": "kernel 2 needs an even map",
    "show finl": "did you mean 'final'",
    "show 5 --stem conv3x3": "--stem",
    "spaces resnt": "did you mean 'resnet'",
    "spaces resnet --budget 10": "the smallest",
    "spaces resnet --dataset cifar": "did you mean 'cifar10'",
    "spaces resnet --image-size 0": "--image-size must be at least 1",
    "spaces --budget 5M": "NAME",
    "spaces resnet --budget 5M --trials 0": "trials must be a positive whole number",
    "spaces resnet --budget 5M --epochs many": "epochs must be a positive whole number",
    "presets extra": "extra",
}


LONG, DIGITS = "a" * 300, "9" * 400  # no file's name has 300 letters
LONG_CALLS = {  # what is too long, too large or too deep, and what the message must say
    "a name": (["count", LONG], "unknown architecture"),
    "a name to show": (["show", LONG], "unknown architecture"),
    "an unknown user": (["count", f"~{LONG}/net"], "unknown architecture"),
    "a file": (["count", f"{LONG}.json"], "cannot read the architecture file"),
    "images": (f"{NEW} --dataset folder --data {LONG}".split(), "too long a name"),
    "studies": (["status", "--studies", LONG], "too long a name"),
    "a trial": (["show", "9" * 5_000], "unknown architecture"),
    "a space": ([*NEW.split(), "--space", f"{LONG}.py"], "too long a name"),
    "brackets": (["count", "[" * 1_500 + "]" * 1_500], "notation is"),
    "open brackets": (["count", "[" * 50_000], "notation is"),
    "digits": (["count", f"[[Basic,{'9' * 5_000},8]]"], "notation is"),
    "depth": (["count", "[[Basic,1000000000,8]]"], "depth must be a whole number in [1, 10000]"),
    "width": (
        ["count", f"[[Basic,1,{DIGITS}]]"],
        "width must be a positive whole number, at most",
    ),
    "dropout": (["count", f"[[Basic,1,8,{DIGITS}]]"], "dropout must be a number in [0, 1)"),
    "image": (["count", "final", "--image-size", DIGITS], "image_size must be a positive"),
    "epochs": ([*NEW.split(), "--epochs", "1000000000"], "epochs must be a whole number in [1, "),
    "seed": ([*SEARCH.split(), "--budget", "8k", "--seed", DIGITS], "--seed: 0 -> 9"),
}


@pytest.fixture(scope="module")
def real_studies(tmp_path_factory):
    return copy_studies(tmp_path_factory.mktemp("bad") / "studies")


@pytest.fixture
def refused(real_studies, monkeypatch, tmp_path, capsys):
    """Call with words that are refused; the message, after all was found unchanged."""
    monkeypatch.setenv("NAS_STUDIES", str(real_studies))
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def call(words, code=2):
        before = snapshot(real_studies), snapshot(tmp_path)
        assert main(words) == code
        printed = capsys.readouterr()
        lines = printed.err.splitlines()
        assert sum(line.startswith("error: ") for line in lines) == 1
        assert lines[-1].startswith("error: ")
        assert "Traceback" not in printed.err
        assert printed.out == ""
        assert (snapshot(real_studies), snapshot(tmp_path)) == before
        return lines[-1]

    return call


@pytest.mark.parametrize("line", WRONG_CALLS)
def test_a_wrong_call_is_refused_with_one_message_and_changes_nothing(line, refused):
    assert WRONG_CALLS[line] in refused(line.split())


@pytest.mark.parametrize("name", LONG_CALLS)
def test_what_is_too_long_too_large_or_too_deep_is_a_wrong_call_like_any_other(name, refused):
    words, text = LONG_CALLS[name]
    message = refused(words)
    assert text in message
    assert len(message) < 1_000


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("command", ["search", "best", "retrain --best", "spaces resnet"])
def test_a_budget_that_is_no_positive_whole_number_is_refused(command, budget, refused):
    message = refused([*command.split(), "--budget", budget])
    assert "budget must be" in message
    assert repr(budget) in message


def image_folder(root, **counts):
    for name, number in counts.items():
        (root / "train" / name).mkdir(parents=True)
        for index in range(number):
            image = Image.new("RGB", (8, 8), (index * 20, 99, 7))
            image.save(root / "train" / name / f"{index}.png")
    return root


def broken_folder(root):
    image_folder(root, cat=6, dog=6)
    whole = (root / "train" / "cat" / "0.png").read_bytes()
    (root / "train" / "cat" / "0.png").write_bytes(whole[:40])
    (root / "train" / "dog" / "notes.txt").write_text("no image")
    return root


FOLDERS = {
    "absent": (lambda root: root, "images"),
    "a file": (lambda root: root.write_text("x") and root, "images"),
    "without train": (lambda root: (root / "test").mkdir(parents=True) or root, "train"),
    "one class": (lambda root: image_folder(root, cat=6), "class"),
    "an empty class": (lambda root: image_folder(root, cat=6, dog=0), "dog"),
    "too few images": (lambda root: image_folder(root, cat=6, dog=1), "dog"),
    "broken and other files": (broken_folder, "0.png"),
}


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize(
    "command", [f"search --space {SPACE} --budget 8k", "retrain --arch final"]
)
def test_unusable_images_are_named_and_nothing_is_written(kind, command, refused, tmp_path):
    make, text = FOLDERS[kind]
    root = make(tmp_path / "images")
    assert text in refused([*command.split(), "--dataset", "folder", "--data", str(root)])


def test_every_unreadable_file_is_counted(refused, tmp_path):
    root = broken_folder(tmp_path / "images")
    message = refused(
        [*["retrain", "--arch", "final", "--dataset", "folder", "--data"], str(root)]
    )
    assert "of 13" in message or "of 12" in message  # the notes may be skipped by their ending


RETRAIN = ["retrain", "--arch", "final", "--dataset", "folder", "--data"]


def test_a_pipe_among_the_images_is_told_and_never_opened(refused, tmp_path):
    root = image_folder(tmp_path / "images", cat=6, dog=6)
    pipe = root / "train" / "cat" / "pipe.jpg"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"",), daemon=True)
    writer.start()  # until the pipe is opened to be read, it waits
    message = refused([*RETRAIN, str(root)])
    assert "1 of 13" in message
    assert "train/cat/pipe.jpg (not a regular file)" in message
    assert writer.is_alive()
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
    writer.join(60)


def test_postscript_under_an_images_name_is_told_and_starts_no_program(
    refused, tmp_path, monkeypatch
):
    root = image_folder(tmp_path / "images", cat=6, dog=6)
    Image.new("RGB", (8, 8)).save(root / "train" / "cat" / "cat.jpg", "EPS")
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/it-ran\n")  # `refused` would find it
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}{os.pathsep}{os.environ['PATH']}")
    message = refused([*RETRAIN, str(root)])
    for text in ("(JPEG, PNG, ", "1 of 13", "train/cat/cat.jpg (EPS); convert"):
        assert text in message


@pytest.mark.parametrize("side", [13_000, 14_000])  # Pillow warns of one and refuses the other
def test_an_image_above_pillows_limit_is_told_and_not_decoded(side, refused, tmp_path):
    root = image_folder(tmp_path / "images", cat=6, dog=6)
    Image.new("1", (side, side)).save(root / "train" / "cat" / "-first.png")
    limit = 2**30 // 4 // 3  # Pillow's: a quarter of a GiB in three bytes a pixel
    message = refused([*RETRAIN, str(root)])
    assert (
        f"1 of 13 files in {root} are not: train/cat/-first.png (more than {limit:,} pixels)"
        in message
    )


def test_names_from_disk_cannot_act_on_the_terminal(refused, tmp_path):
    name, shown = (
        "\x1b]0;mine\x07\r\u202e\x9b2J\nerror: ",
        r"\x1b]0;mine\x07\r\u202e\x9b2J\nerror: ",
    )
    few = image_folder(tmp_path / "few", **{name: 1, "dog": 6})
    broken = image_folder(tmp_path / "broken", cat=6, dog=6)
    (broken / "train" / "cat" / f"{name}.png").write_text("no image")
    lacking = image_folder(tmp_path / "lacking", **{name: 6, "dog": 6})
    (lacking / "test" / "dog").mkdir(parents=True)
    high = tmp_path / "high"
    (high / name).mkdir(parents=True)
    for root in (few, broken, lacking, high):
        message = refused([*RETRAIN, str(root)])
        assert shown in message
        assert message.isprintable()


def test_a_place_that_cannot_be_written_is_one_message(refused, tmp_path):
    place = tmp_path / "taken"
    place.write_text("a file")
    for words in (f"{NEW} --trials 1 --epochs 1", "retrain --arch [[Basic,1,8]] --dataset digits"):
        message = refused([*words.split(), "--studies", str(place)], code=1)
        assert str(Path(place)) in message


CALLS = [  # each answers; what of it is damaged answers too
    "count final --stem conv3x3 --image-size 32 --classes 10 --total --format json",
    "count [[Basic,3,64,0.1],[Bottleneck,2,256]] --channels 1",
    "show row1 --stem conv5x5",
    f"show 0 --study {STUDY}",
    f"spaces {SPACE} --budget 8k --dataset digits --trials 9 --epochs 2",
    "spaces resnet_small --max-macs 5M --image-size 16 --format json",
    "presets --format json",
    f"status --study {STUDY} --format json",
    "best --top 3 --budget 8k --format text",
]
TRAINING_CALLS = [
    f"{SEARCH} --budget 8k --trials 9 --workers 2",
    f"{NEW} --trials 24 --epochs 2 --sampler tpe --pruner median --audit 0.1 --rungs 4x9,2x30",
    f"{SEARCH} --targets 4k,8k --hours 1 --gpu-hours 2 --max-macs 1e6 --seed 3 --study other",
    f"{NEW} --recipe modern --set batch_size=64 --set dropout=0.1 --time-limit 2h --no-baselines",
    "retrain --arch [[Basic,1,8]] --dataset digits --epochs 1 --device cpu --seed 3",
    f"retrain --best --budget 8k --study {STUDY} --recipe short --set learning_rate=0.1",
]


@pytest.fixture(scope="module")
def answered(real_studies, tmp_path_factory):
    """Call with words; whatever comes of them, no study is other than it was."""
    place = tmp_path_factory.mktemp("place")
    before = snapshot(real_studies)

    def call(words):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NAS_STUDIES", str(real_studies))
            patch.setenv("NAS_CACHE", str(place / "cache"))
            patch.chdir(place)
            answer(words)
        assert snapshot(real_studies) == before
        assert not [path for path in place.iterdir() if path.name != "cache"]

    return call


@CASES
@given(words=damaged_words(CALLS))
def test_a_damaged_call_is_answered_and_changes_nothing(answered, words):
    answered(words)


@pytest.mark.slow
@CASES
@given(words=damaged_words(TRAINING_CALLS))
def test_a_damaged_call_that_would_train_is_answered_and_changes_nothing(answered, words):
    if words[0] == "search":
        answered([*words, "--dry-run"])
    else:
        answered([*words, "--studies", os.devnull])  # where nothing can be kept
