"""Operations: the one path that everything runs on."""

from __future__ import annotations

from .beside import beside
from .correlation import CURRENT, Frame, RunnerLimits
from .course import Chains, Course
from .runner import Runner
from .steps import propose

__all__ = [
    "CURRENT",
    "Chains",
    "Course",
    "Frame",
    "Runner",
    "RunnerLimits",
    "beside",
    "propose",
]
