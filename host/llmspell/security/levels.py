"""How much a component may touch: judges its level against the highest one that runs here.

Invariant: a level above the highest never runs, whoever asks.
"""

from __future__ import annotations

from llmspell_hookspecs import SecurityError, SecurityLevel

__all__ = ["judge_level"]


def judge_level(component: str, level: SecurityLevel, highest: SecurityLevel) -> None:
    """Refuse a component whose level is too high.

    Args:
        component: Its address, for the message.
        level: What it may touch.
        highest: The highest level that runs.

    Raises:
        SecurityError: Its level is above the highest.
    """
    if level > highest:
        message = (
            f"{component}: its level is {level.name.lower()}, and the highest that runs here is "
            f"{highest.name.lower()}; the setting security.level allows more"
        )
        raise SecurityError(message, rule="level")
