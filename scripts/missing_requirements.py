"""Print which requirements of setup.cfg this Python lacks; exit 1 where there are any.

    python scripts/missing_requirements.py [EXTRA,EXTRA...]

Runs on a bare Python: an environment without the package `packaging` lacks nearly all.
"""

from __future__ import annotations

import sys
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def main() -> int:
    """Compare setup.cfg with what is installed."""
    config = ConfigParser()
    config.read(Path(__file__).resolve().parent.parent / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].split("\n")
    for extra in filter(None, ",".join(sys.argv[1:]).split(",")):
        lines += config["options.extras_require"][extra].split("\n")
    missing = [line for line in filter(None, lines) if not is_met(line)]
    print(", ".join(missing))
    return int(bool(missing))


def is_met(line: str) -> bool:
    """Return whether a requirement is installed in a version that it allows."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return False
    requirement = Requirement(line)
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
