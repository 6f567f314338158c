"""``python -m numpy_transformer``: the same as the command ``numpy-transformer``."""

import sys

from numpy_transformer.cli import main

if __name__ == "__main__":
    sys.exit(main())
