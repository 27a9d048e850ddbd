"""`python -m xpose.cli`, which is the same as `python -m xpose`."""

import sys

from xpose.cli import main

if __name__ == "__main__":
    sys.exit(main())
