"""Fitting values to the types that points carry; see the contract."""

from __future__ import annotations

from llmspell_hookspecs.fit import bound, fit, freeze_fields, name_after, plain, renew, thaw_fields, without_refused

__all__ = ["bound", "fit", "freeze_fields", "name_after", "plain", "renew", "thaw_fields", "without_refused"]
