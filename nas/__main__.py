"""Run the command line as `python -m nas`."""

import sys

from nas.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
