"""`python -m xpose` is the `xpose` command, for machines whose PATH does not have it."""

import sys

from xpose.cli import main

if __name__ == "__main__":
    sys.exit(main())
