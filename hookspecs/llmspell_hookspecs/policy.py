"""What those who are not trusted may do to a setting: a project's file that nobody has trusted, or a script."""

from __future__ import annotations

import enum

__all__ = ["Policy"]


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
