"""Tools that talk to services over HTTP; all of them through the host's NetworkAccess."""
