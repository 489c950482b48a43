"""Malformed inputs, made by a seed: settings, tools, Lua, model answers, packages, command lines, workflows.

``python -m tests.malformed --kind settings --seed 1 --count 5000``; with ``--start N --count 1`` one of them again.
"""

from __future__ import annotations
