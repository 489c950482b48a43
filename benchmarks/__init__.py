"""Side-by-side benchmarks: llmspell, its peers and the floor, interleaved in one run. See DESIGN.md, section 9."""

from __future__ import annotations
