"""A sample of the malformed inputs: each is taken or refused in one line, and nothing hangs.

``LLMSPELL_MALFORMED=17500`` makes it all of them, as ``python malformed.py`` does.
"""

from __future__ import annotations

import os
import random

import pytest

from malformed import KINDS, become, faults, mutated

SAMPLE = int(os.environ.get("LLMSPELL_MALFORMED", "300"))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")  # of the compiler, about modules that were changed at random
def test_malformed_input_is_taken_or_refused_in_one_line(kind: str) -> None:
    counts, found = faults(kind, SAMPLE // len(KINDS))

    assert found == []
    assert counts.total() == SAMPLE // len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_changed_is_taken(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("malformed.mutated", lambda source, given: given)
    monkeypatch.setattr("malformed.changed", lambda source, given: given)
    monkeypatch.setattr("malformed.text", lambda source, given: given)

    became = [become(kind, number, 1) for number in range(6)]

    assert [told for what, told in became if what == "fault"] == []
    assert "taken" in {what for what, _ in became}


def test_the_same_seed_makes_the_same_inputs() -> None:
    def made() -> list[bytes]:
        source = random.Random(3)
        return [mutated(source, b"a text to be changed") for _ in range(50)]

    assert made() == made()
    assert len(set(made())) > 25
