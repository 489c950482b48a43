"""What looks like an injection: instructions to a model in what a tool returned, and commands in a tool's arguments.

These are guesses: a text about injections looks like one. So they are reported unless settings say otherwise.
"""

from __future__ import annotations

import re
from typing import Any, Final

from .rules import texts_of

__all__ = ["injections_in_arguments", "injections_in_text"]

_LONGEST: Final = 200_000
_TEXTS: Final = {
    "override": r"\b(?:ignore|disregard|forget|override)\s{1,4}"
    r"(?:all\s{1,4}|any\s{1,4}|the\s{1,4}|your\s{1,4}|my\s{1,4})"
    r"{0,3}(?:previous|prior|above|earlier|preceding|system)\s{1,4}(?:instruction|prompt|rule|message|direction)",
    "role": r"\byou\s{1,4}are\s{1,4}(?:now|no\s{1,4}longer)\s{1,4}(?:a|an|the|in|bound|restricted)\b",
    "prompt_leak": r"\b(?:reveal|print|repeat|output|show)\s{1,4}(?:me\s{1,4})?(?:your|the)\s{1,4}"
    r"(?:system|hidden|initial)\s{1,4}(?:prompt|instruction|message)",
    "chat_markup": r"<\|(?:im_start|im_end|system|user|assistant|endoftext)\|>|\[/?INST\]|<</?SYS>>",
    "hidden_text": "[\U000e0020-\U000e007f]{4}|[\u202a-\u202e\u2066-\u2069]|[\u200b\u2060\ufeff]{4}",
    "exfiltration": r"!\[[^\]\n]{0,80}\]\(https?://[^)\s]{1,400}[?&][^)\s=]{1,40}=[^)\s]{20,2000}\)",
}
_ARGUMENTS: Final = {
    "shell": r"\$\([^)]{1,400}\)|`[^`]{1,400}`|[;&|]\s{0,4}(?:rm\s{1,4}-|curl\s|wget\s|nc\s|bash\b|sh\s{1,4}-c)",
    "traversal": r"(?:\.\./){2,}|(?:\.\.\\){2,}|%2e%2e[/%]",
    "sql": r"'\s{0,4}(?:or|and)\s{1,4}'?\d{1,9}'?\s{0,4}=\s{0,4}'?\d"
    r"|;\s{0,4}drop\s{1,4}table\b|\bunion\s{1,4}(?:all\s{1,4})?select\b",
}
_IN_TEXT: Final = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _TEXTS.items()}
_IN_ARGUMENTS: Final = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _ARGUMENTS.items()}


def injections_in_text(value: Any) -> list[str]:
    """Return the kinds of instructions to a model that the texts of a value hold."""
    return _kinds(_IN_TEXT, value)


def injections_in_arguments(value: Any) -> list[str]:
    """Return the kinds of commands that the texts of a tool's arguments hold."""
    return _kinds(_IN_ARGUMENTS, value)


def _kinds(patterns: dict[str, re.Pattern[str]], value: Any) -> list[str]:
    texts = [text[:_LONGEST] for text in texts_of(value)]
    return [kind for kind, pattern in patterns.items() if any(pattern.search(text) for text in texts)]
