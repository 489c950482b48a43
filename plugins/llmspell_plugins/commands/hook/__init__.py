"""Verbs of the noun hook that measure: what hooks cost here, and what became of those that were called."""
