"""Lets the tests of the example packages run from here without installing the packages."""

from __future__ import annotations

import sys
from pathlib import Path

for source in sorted(Path(__file__).parent.glob("plugins/*/src")):
    sys.path.insert(0, str(source))
