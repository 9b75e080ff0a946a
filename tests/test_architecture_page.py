"""docs/architecture.md: what it names is there, and no room is left out."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/architecture.md").read_text()


def test_every_file_and_name_on_the_page_exists():
    named = set(re.findall(r"`((?:nas|scripts|tests|search_spaces)/[\w/.]*)`", PAGE))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_function_of_a_way_stands_in_the_file_it_is_named_with():
    hops = re.findall(r"`(nas/[\w/]+\.py)` `([\w.]+)`", PAGE)
    assert len(hops) > 10
    for file, name in hops:
        function = name.split(".")[-1]
        assert re.search(rf"\bdef {function}\(", (ROOT / file).read_text()), (file, name)


def test_the_picture_has_every_room():
    picture = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)[1]
    rooms = {path.parent.name for path in (ROOT / "nas").glob("*/__init__.py")}
    assert rooms <= set(re.findall(r"\| (\w+)\b", picture))
