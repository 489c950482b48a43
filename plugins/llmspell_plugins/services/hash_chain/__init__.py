"""Logs that nobody changes unseen: entries in a storage, each bound to the one before by a keyed hash.

The head, which is the number and hash of the newest entry, is kept in a file apart from the storage, so that a log that
was cut at its end is found, too. It also says up to which entry the oldest were taken out on purpose, under a seal that
only who has the key can make, so that what is left is verified as the whole was.

Invariant: whoever lacks the key, and cannot write the head, can change or take out nothing without `verify` naming the
first entry that is wrong. Who can write the head can take the end away; who has the key, too, can rewrite all.
"""

from __future__ import annotations

from .entry import ChainEntry, ChainPlaces, ChainProblem, Verified, read_head
from .reading import read_entries, verify
from .writer import ChainLog

__all__ = ["ChainEntry", "ChainLog", "ChainPlaces", "ChainProblem", "Verified", "read_entries", "read_head", "verify"]
