"""The command line: noun then verb, one module each, loaded when it is asked for.

Invariant: nothing heavier than click is imported before a verb runs.
"""

from __future__ import annotations
