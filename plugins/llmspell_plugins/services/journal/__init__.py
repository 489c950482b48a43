"""The journal: what operations were asked and what came of them, in chained chunks; and what runs them again."""
