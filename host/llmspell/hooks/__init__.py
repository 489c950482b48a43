"""Hooks: registration, order, compiled chains, dispatch, trace."""

from __future__ import annotations

from .chain import Chain, still_judging
from .dispatch import advance, advance_waiting, judge, next_answer, observe
from .hook import FOR_ALL, Hook
from .registry import Handle, HookRegistry
from .timer import BreakerTimer
from .trace import Tracer

__all__ = [
    "FOR_ALL",
    "BreakerTimer",
    "Chain",
    "Handle",
    "Hook",
    "HookRegistry",
    "Tracer",
    "advance",
    "advance_waiting",
    "judge",
    "next_answer",
    "observe",
    "still_judging",
]
