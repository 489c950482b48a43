"""Artifacts: contents that sessions keep, addressed by their hash, with versions, access rules and a record of both."""
