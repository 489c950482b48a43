"""The example of composites runs, through the command line, and prints what was agreed on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmspell_testing import TemporarySettings
from waiting import PATIENCE_S

SCRIPT = Path(__file__).parent.parent / "examples" / "composites.lua"
PRINTED = """\
== 1. Two of three must agree, and the guard needs nobody
  7 + 1   8.0
  7 + 8   refused: it has a 7
  13 + 1  refused: it has a 13
== 2. The first that knows the word
  two + 2    4.0
  three * 3  9.0
== 3. Two change the same: the preferred one counts
  0          4.0
  parallel               asked by the chain
  parallel/left          within parallel
  parallel/right         within parallel
"""


@pytest.mark.long
def test_composites_print_what_was_agreed_on(llmspell_settings: TemporarySettings) -> None:
    shutil.copy(SCRIPT, llmspell_settings.project)

    ran = subprocess.run(
        [sys.executable, "-m", "llmspell", "run", "composites.lua"], capture_output=True, text=True, timeout=PATIENCE_S
    )

    assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", PRINTED)
