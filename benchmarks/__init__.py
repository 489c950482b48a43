"""Side-by-side benchmarks: llmspell, its peers and the floor, interleaved in one run."""

from __future__ import annotations
