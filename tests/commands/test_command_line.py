"""The door of the command line: help, names, exit codes, missing dependencies, quick answers."""

import json
import os
import re
import resource
import subprocess
import sys
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nas.commands import COMMANDS, main, quote_command
from nas.commands.arguments import expand_path
from nas.data.datasets import DATASETS
from nas.errors import StorageError
from nas.network.blocks import STEMS
from nas.samplers import SAMPLERS
from nas.study.pruners import PRUNERS
from nas.training.recipe import RECIPES
from nas.training.tracking import TRACKERS
from tests.support.small_study import add_trial, create_study, net, searched_studies

ROOT = Path(__file__).resolve().parents[2]
IMPORT_NAMES = {"scikit-learn": "sklearn", "pillow": "PIL", "optuna-dashboard": "optuna_dashboard"}


def run(*words, environment=None, python=(sys.executable,), **options):
    return subprocess.run(
        [*python, str(ROOT / "cli.py"), *words],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
        timeout=120,
        **options,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_stands_in_the_readme(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: python cli.py {name}")
    assert not re.search(r"(?<!python )cli\.py", text)
    assert (import_module(f"nas.commands.{name.replace('-', '_')}").__doc__ or "").splitlines()[
        0
    ] in text
    assert re.search(rf"(`|cli\.py ){name}\b", (ROOT / "README.md").read_text())


def test_installed_as_nas_every_text_says_nas(tmp_path):
    script = tmp_path / "nas"  # what pip writes for the entry point of setup.cfg
    script.write_text("import sys\nfrom nas.commands import main\nsys.exit(main())\n")
    (entry,) = re.findall(r"nas = ([\w.:]+)", (ROOT / "setup.cfg").read_text())
    assert entry == "nas.commands:main"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for line, text in {
        "--help": "usage: nas COMMAND",
        "status": "`nas search --budget 5e6` begins",
        "status --studie x": "did you mean --studies? see `nas status --help`",
        "spaces resnet --budget 5M": "  nas search --space resnet --budget 5000000",
    }.items():
        words = [sys.executable, script, *line.split()]
        ran = subprocess.run(
            words, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120
        )
        assert text in ran.stdout + ran.stderr
        assert "cli.py" not in ran.stdout + ran.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_an_installed_command_says_nas(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["/usr/bin/nas", name, "--help"])
    with pytest.raises(SystemExit):
        main()
    text = capsys.readouterr().out
    assert text.startswith(f"usage: nas {name}")
    assert "cli.py" not in text


def test_the_help_of_search_begins_with_two_examples_and_ends_with_what_is_rare(capsys):
    with pytest.raises(SystemExit):
        main(["search", "--help"])
    paragraphs = capsys.readouterr().out.split("\n\n")
    assert [line.split()[:3] for line in paragraphs[2].splitlines()] == [
        ["python", "cli.py", "search"]
    ] * 2
    titles = [text.splitlines()[0] for text in paragraphs if re.match(r"[a-z ]+:\n", text)]
    assert titles == ["options:", "search:", "study:", "training:", "rarely needed:"]


def test_a_command_is_recorded_as_it_can_be_typed_and_without_a_storage_url():
    url = "postgresql://user:secret@host/db"
    for option in (["--storage", url], [f"--storage={url}"]):
        argv = ["search", *option, "--data", "my images"]
        assert quote_command(argv) == "python cli.py search --data 'my images'"


@pytest.mark.parametrize(
    ("command", "table"),
    [
        *(("search", table) for table in (DATASETS, PRUNERS, RECIPES, SAMPLERS, TRACKERS)),
        *(("retrain", table) for table in (DATASETS, RECIPES, STEMS, TRACKERS)),
        *(("lr-range-test", table) for table in (DATASETS, RECIPES, STEMS)),
        *(("spaces", DATASETS), ("study", DATASETS), ("show", STEMS), ("worker", TRACKERS)),
    ],
)
def test_a_row_that_is_added_to_a_table_stands_in_the_help(command, table, monkeypatch, capsys):
    monkeypatch.setitem(table, "newcomer", next(iter(table.values())))
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert [name for name in table if name not in text] == []


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_lists_every_command(words, capsys):
    assert main(words) == 0
    text = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert name in text
        assert summary in text


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == import_module("nas").__version__


def test_an_option_that_does_not_exist_is_named_with_the_nearest(capsys):
    assert main(["status", "--studie", "x"]) == 2
    message = capsys.readouterr().err
    assert "--studie" in message
    assert "did you mean --studie" in message
    assert message.count("error:") == 1
    assert main(["presets", "extra", "words"]) == 2
    assert "extra words" in capsys.readouterr().err


def test_debug_shows_the_traceback_of_an_error(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "study.json").write_text("{half")
    words = ["status", "--studies", str(tmp_path)]
    assert main(words) == 1
    with pytest.raises(StorageError):
        main([*words, "--debug"])


def test_a_reader_that_goes_away_is_no_error():
    line = f"{sys.executable} {ROOT}/cli.py presets; echo code $? >&2"
    pipe = subprocess.run(["sh", "-c", f"({line}) | true"], capture_output=True, text=True)
    assert pipe.stderr == "code 0\n"


def test_a_terminal_without_the_characters_gets_others():
    printed = run("show", "resnet20", environment={"PYTHONIOENCODING": "ascii"})
    assert printed.returncode == 0
    assert "272,282 parameters" in printed.stdout


def test_without_the_dependencies_the_one_command_that_installs_them_is_named(tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    required = re.findall(r"^([\w-]+)", config["options"]["install_requires"], re.MULTILINE)
    known = {IMPORT_NAMES.get(name, name) for name in required}
    command = re.escape(f"{venv}/bin/python -m pip install -c constraints.txt -e .")
    for line in ("search --budget 5e6", "status", "retrain --arch final", "dashboard"):
        printed = run(*line.split(), python=(str(venv / "bin" / "python"),))
        assert printed.returncode == 2
        found = re.fullmatch(rf"error: not installed: (\w+); run: {command}\n", printed.stderr)
        assert found is not None, printed.stderr
        assert found[1] in known
    assert (ROOT / "constraints.txt").is_file()


def test_an_absent_module_of_our_own_is_shown_as_the_fault_it_is(monkeypatch):
    monkeypatch.setitem(COMMANDS, "gone", "a command without its file")
    with pytest.raises(ModuleNotFoundError, match=r"nas\.commands\.gone"):
        main(["gone"])


# What DESIGN.md promises to answer without, in the order of their weight
QUICK = {
    "--help": "torch optuna numpy",
    "search --help": "torch optuna numpy",
    "retrain --help": "torch optuna numpy",
    "lr-range-test --help": "torch optuna numpy",
    "reproduce --help": "torch optuna numpy",
    "reproduce 9": "torch optuna numpy",
    "study --help": "torch optuna numpy",
    "study": "torch optuna numpy",
    "status --help": "torch optuna numpy",
    "best --help": "torch optuna numpy",
    "dashboard --help": "torch optuna numpy",
    "count final": "torch optuna numpy",
    "show final": "torch optuna numpy",
    "presets": "torch optuna numpy",
    "search --budget 10": "torch optuna",
    "search --budget nan": "torch optuna",
    "spaces resnet --budget 5e6": "torch optuna",
    "status": "torch",
    "best": "torch",
    "show 0": "torch",
}
PROGRAM = """
import json, sys
sys.path.insert(0, {root!r})
from nas.commands import main
from nas.commands.arguments import expand_path
found = {{}}
for line in {lines!r}:
    try:
        main(line.split())
    except SystemExit:
        pass
    found[line] = [name for name in ("torch", "optuna", "numpy") if name in sys.modules]
print("\\n" + json.dumps(found))
"""


def test_what_answers_at_once_imports_nothing_heavy():
    # in one process, the lightest first: a module once imported stays
    lines = sorted(QUICK, key=lambda line: -len(QUICK[line]))
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(root=str(ROOT), lines=lines)],
        capture_output=True,
        text=True,
        env={**os.environ, "NAS_STUDIES": str(searched_studies())},
        check=True,
    )
    found = json.loads(printed.stdout.splitlines()[-1])
    for line, without in QUICK.items():
        assert not set(found[line]) & set(without.split()), line


def cpu_seconds(*words, **options):
    """The processor's seconds of a command: they do not depend on what else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run(*words, **options).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("line", ["--help", "count final", "show final", "presets"])
def test_counters_and_help_answer_in_half_a_second(line):
    assert min(cpu_seconds(*line.split()) for _ in range(2)) < 0.5


def test_a_study_of_200_trials_is_shown_in_a_second_and_a_half():
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # 6,000 flushes to a disk
    with TemporaryDirectory(dir=memory) as folder:
        _, study = create_study(folder)
        for number in range(200):
            add_trial(study, net(8 + number % 24, 1 + number % 4), [0.1 * i for i in range(6)])
        for command in ("status", "best"):
            assert min(cpu_seconds(command, "--studies", folder) for _ in range(2)) < 1.5


def test_an_empty_path_names_nothing_and_an_unknown_home_stays_as_it_is():
    assert expand_path("") is None
    assert expand_path("~no-such-user/images") == Path("~no-such-user/images")
    assert expand_path("~/images") == Path.home() / "images"


def test_linear_algebra_takes_one_thread_in_a_command_and_what_it_starts():
    code = "import nas.commands, numpy, psutil; a = numpy.ones((600, 600)); a @ a; "
    code += "print(psutil.Process().num_threads())"
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert ended.stdout.split() == ["1"], ended.stderr
