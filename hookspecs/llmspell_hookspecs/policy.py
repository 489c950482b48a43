"""What those who are not trusted may do to a setting: a project's file that nobody has trusted, or a script.

Invariant: `loosens` answers False only if the new value permits nothing that the old one did not.
"""

from __future__ import annotations

import enum
import math
import typing
from collections.abc import Sequence
from typing import Any

from pydantic.fields import FieldInfo

from .globs import Globs
from .secret import is_secret_name

__all__ = ["Policy", "loosens", "rule_of", "words_of"]


class Policy(enum.Enum):
    """How a value may change where the one who changes it is not trusted.

    A model's field carries its rule as ``Annotated[int, Policy.LOWER_ONLY]``, in the host's settings and in any
    plugin's; one that carries none is `LOCKED`. The texts end the sentence "here it may".
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


def rule_of(field: FieldInfo | None) -> Policy | None:
    """Return the rule that a field of a model carries; None if it carries none."""
    return None if field is None else next((item for item in field.metadata if isinstance(item, Policy)), None)


def words_of(annotation: Any) -> tuple[str, ...]:
    """Return the words that a value of this type may be, in order; none if it is no word."""
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()


def loosens(policy: Policy, old: Any, new: Any, *, order: Sequence[str] = ()) -> bool:
    """Return whether the change of a single value permits what was not permitted, or may do so.

    What paths and hosts permit only their judges know.

    Args:
        policy: The key's rule.
        old: The value that stands.
        new: The value asked for.
        order: For words, from the strictest to the loosest.
    """
    if policy is Policy.FREE or old == new:
        return False
    match policy:
        case Policy.LOWER_ONLY:
            return not _rank(new, order) <= _rank(old, order)
        case Policy.LOWER_ONLY_ZERO_UNLIMITED:
            return not _rank(new or None, order) <= _rank(old or None, order)
        case Policy.OFF_ONLY:
            return bool(new)
        case Policy.ON_ONLY:
            return not new
        case Policy.SUBSET_ONLY:
            return not set(new) <= set(old)
        case Policy.VARIABLES_WITHIN:
            named = any(is_secret_name(name) and name not in old for name in new)
            return named or not Globs(old).cover(Globs(new))
        case Policy.SUPERSET_ONLY:
            return not set(old) <= set(new)
    return True


def _rank(value: Any, order: Sequence[str]) -> float:
    """A limit as a number: none is infinite, a word counts by its place. NaN is above and below nothing."""
    if value is None:
        return math.inf
    rank: float = order.index(value) if order else value
    return rank
