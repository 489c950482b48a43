"""Sessions: what belongs together over hosts and days, with its checkpoints, its lease and its limits."""
