"""What a search says before its first training, and what it may not take long for."""

import re

from searching import words

from nas import space_index
from nas.commands import main
from nas.preflight import describe_search
from nas.prepare import find_known, prepare
from nas.presets import PRESETS
from nas.request import Request, quote_command
from nas.space import BudgetedSpace, load_space


def request(images, **fields):
    return Request(dataset="folder", data=str(images), **{"budget": 5_000_000, **fields})


def test_the_preflight_says_all_of_it_and_builds_the_index_of_the_space_once(
    folder, images, monkeypatch
):
    built = []
    for name in [name for name in dir(space_index) if name.endswith("Index")]:
        cls = getattr(space_index, name)

        def record(self, *args, _original=cls.__init__, **kwargs):
            built.append(type(self).__name__)
            _original(self, *args, **kwargs)

        monkeypatch.setattr(cls, "__init__", record)
    search = prepare(request(images, epochs=3))
    lines = {line.split()[0]: line for line in describe_search(search, 20, 1)}
    assert list(lines)[:8] == [
        *("study", "space", "plan", "recipe", "pruner", "resolves", "known", "time")
    ]
    assert "resnet-5M-folder (new)" in lines["study"]
    counts = [int(text.replace(",", "")) for text in re.findall(r"[\d,]{5,}", lines["space"])]
    assert counts[0] > counts[1] > 0
    assert counts[2] == 5_000_000
    assert "3 epochs" in lines["plan"]
    assert "about" in lines["time"]
    assert "20 trials" in lines["time"]
    assert search.space.num_feasible() == counts[1]
    assert len(built) == len(set(built))
    assert not folder.path.exists()


def test_known_networks_are_those_that_space_and_budget_hold_each_once(images):
    from nas.architecture import InputSpec
    from nas.budget import Caps

    loaded = load_space("resnet")
    spec = InputSpec(3, 32, 10)
    for budget, names in (
        (5_000_000, ["baseline", "final", "basic-443"]),
        (4_700_000, ["baseline", "basic-443"]),
        (300_000, ["baseline"]),
        (100_000, []),
    ):
        space = BudgetedSpace(loaded.space, spec, Caps(budget))
        assert list(find_known(loaded, space)) == names
    from dataclasses import replace

    same = replace(loaded, baseline=PRESETS["final"].architecture)
    space = BudgetedSpace(loaded.space, spec, Caps(5_000_000))
    assert list(find_known(same, space)) == ["baseline", "basic-443"]


def test_what_set_gives_stands_as_it_is_given_and_the_same_command_resumes(folder, images):
    argv = [*words(images, trials=1), "--set", "learning_rate=0.07"]
    assert main(argv) == 0
    assert folder.definition()["recipe"]["learning_rate"] == 0.07
    assert folder.definition()["recipe"]["batch_size"] == 16
    assert main(argv) == 0


def test_a_command_is_recorded_as_it_can_be_typed_and_without_a_password():
    url = "postgresql://user:secret@host/db"
    assert quote_command(["search", "--data", "my images", "--storage", url]) == (
        "python cli.py search --data 'my images' --storage postgresql://user@host/db"
    )
    assert "secret" not in quote_command(["search", f"--storage={url}"])


def test_a_request_is_checked_before_anything_is_read(folder, capsys):
    for argv, message in (
        (["--dataset", "cifar11"], "did you mean 'cifar10'"),
        (["--sampler", "tpee"], "did you mean 'tpe'"),
        (["--pruner", "medain"], "did you mean 'median'"),
        (["--recipe", "shrot"], "did you mean 'short'"),
        (["--space", "resnt"], "did you mean 'resnet'"),
        (["--set", "momentun=0.9"], "did you mean 'momentum'"),
        (["--set", "momentum=2"], "momentum must be"),
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--trials", "0"], "trials must be a positive whole number"),
        (["--trials", "2.5"], "trials must be a positive whole number"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--time-limit", "5"], "must be a duration"),
        (["--study", "a/b"], "study's name"),
        (["--device", "tpu"], "a device is"),
    ):
        assert main(["search", "--budget", "5e6", *argv]) == 2, argv
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert main(["search"]) == 2
    assert "needs a budget" in capsys.readouterr().err
    assert not folder.path.exists()
