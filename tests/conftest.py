"""What holds for all tests."""

from __future__ import annotations

import os

# The arrays here are small: dividing their products among threads takes longer than the products.
# It has to be said before NumPy is loaded, and holds for the processes that tests start as well.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
