"""Operations: the one path that everything runs on."""

from __future__ import annotations

from .correlation import CURRENT, Frame
from .fit import fit, freeze_fields, plain, thaw_fields
from .kind import Asker, Operation, OperationKind
from .runner import Caller, Chains, Runner, RunnerLimits

__all__ = [
    "CURRENT",
    "Asker",
    "Caller",
    "Chains",
    "Frame",
    "Operation",
    "OperationKind",
    "Runner",
    "RunnerLimits",
    "fit",
    "freeze_fields",
    "plain",
    "thaw_fields",
]
