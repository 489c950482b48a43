"""Lua 5.4, sandboxed, run in slices; `language` is its face, the ``.lua`` files are what runs inside."""
