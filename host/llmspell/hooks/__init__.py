"""Hooks: registration, order, compiled chains, dispatch, trace."""

from __future__ import annotations

from .chain import Chain, still_judging
from .dispatch import advance, advance_waiting, judge, next_answer, observe
from .hook import FOR_ALL, BreakerTimer, Hook
from .registry import HookRegistry

__all__ = [
    "FOR_ALL",
    "BreakerTimer",
    "Chain",
    "Hook",
    "HookRegistry",
    "advance",
    "advance_waiting",
    "judge",
    "next_answer",
    "observe",
    "still_judging",
]
