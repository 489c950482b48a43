"""What a project file or a script may do to a setting: each key has a rule, and every rule only tightens.

Invariant: `loosens` answers False only if the new value permits nothing that the old one did not.
"""

from __future__ import annotations

import enum
import math
import os
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from llmspell_hookspecs import is_secret_name

__all__ = ["Policy", "covers", "loosens", "resolve_root"]


class Policy(enum.Enum):
    """How a value may change where the one who changes it is not trusted.

    A model's field carries its rule as ``Annotated[int, Policy.LOWER_ONLY]``; the texts end the sentence "here it may".
    """

    FREE = "take any value"
    LOWER_ONLY = "only be lowered"
    LOWER_ONLY_ZERO_UNLIMITED = "only be lowered, and 0 is no limit"
    OFF_ONLY = "only be switched off"
    ON_ONLY = "only be switched on"
    SUBSET_ONLY = "only be narrowed"
    VARIABLES_WITHIN = "only be narrowed, and not name a secret anew"
    PATHS_WITHIN = "only name folders inside those that stand"
    SUPERSET_ONLY = "only grow"
    LOCKED = "not be changed"


def loosens(policy: Policy, old: Any, new: Any, *, order: Sequence[str] = (), project_dir: Path = Path()) -> bool:
    """Answer whether the change permits what was not permitted.

    Args:
        policy: The key's rule.
        old: The value that stands.
        new: The value asked for.
        order: For words, from the strictest to the loosest.
        project_dir: What relative paths are relative to.
    """
    if policy is Policy.FREE or old == new:
        return False
    match policy:
        case Policy.LOWER_ONLY:
            return _rank(new, order) > _rank(old, order)
        case Policy.LOWER_ONLY_ZERO_UNLIMITED:
            return _rank(new or None, order) > _rank(old or None, order)
        case Policy.OFF_ONLY:
            return bool(new)
        case Policy.ON_ONLY:
            return not new
        case Policy.SUBSET_ONLY:
            return not all(any(covers(wide, narrow) for wide in old) for narrow in new)
        case Policy.VARIABLES_WITHIN:
            named = any(is_secret_name(name) and name not in old for name in new)
            return named or loosens(Policy.SUBSET_ONLY, old, new)
        case Policy.PATHS_WITHIN:
            return not _within(old, new, project_dir)
        case Policy.SUPERSET_ONLY:
            return not set(old) <= set(new)
    return True


def _rank(value: Any, order: Sequence[str]) -> float:
    """A limit as a number: none is infinite, a word counts by its place."""
    if value is None:
        return math.inf
    return float(order.index(value)) if order else float(value)


def covers(wide: str, narrow: str) -> bool:
    """Answer whether all that the glob ``narrow`` matches is matched by ``wide`` too; when in doubt, False."""
    if wide in ("*", narrow):
        return True
    if "/" in narrow:  # A network, which is no glob.
        return False
    wild = any(sign in narrow for sign in "*?[")
    if wild and any(sign in wide for sign in "?[]"):
        return False
    return fnmatchcase(narrow, wide)


def _within(old: Sequence[str], new: Sequence[str], project_dir: Path) -> bool:
    roots = [resolve_root(text, project_dir) for text in old]
    return all(any(resolve_root(text, project_dir).is_relative_to(root) for root in roots) for text in new)


def resolve_root(text: str, project_dir: Path) -> Path:
    """Answer the folder that an entry of ``security.paths`` stands for, every link resolved.

    Args:
        text: A path; ``<tmp>`` stands for the system's folder for temporary files, ``~`` for the home folder.
        project_dir: What a relative path is relative to.
    """
    expanded = os.path.expanduser(text.replace("<tmp>", tempfile.gettempdir()))
    return Path(os.path.realpath(project_dir / expanded))
