"""globals."""
