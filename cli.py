#!/usr/bin/env python3
"""Launcher: `python cli.py COMMAND ...`; the commands live in `nas/commands/`."""

import sys

if sys.version_info < (3, 11):
    sys.exit("this tool needs Python 3.11 or newer, but got " + sys.version.split()[0])

from nas.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
