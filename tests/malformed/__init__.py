"""Malformed inputs, made by a seed: settings, tool parameters, Lua, model answers, plugin packages, command lines.

``python -m tests.malformed --kind settings --seed 1 --count 5000``; with ``--start N --count 1`` one of them again.
"""

from __future__ import annotations
