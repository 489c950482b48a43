"""Operations: the one path that everything runs on."""

from __future__ import annotations

from .beside import beside
from .correlation import CURRENT, Frame
from .course import Chains, Course
from .kind import Asker, Caller, Operation, OperationKind, RunnerLimits
from .runner import Runner
from .steps import propose

__all__ = [
    "CURRENT",
    "Asker",
    "Caller",
    "Chains",
    "Course",
    "Frame",
    "Operation",
    "OperationKind",
    "Runner",
    "RunnerLimits",
    "beside",
    "propose",
]
