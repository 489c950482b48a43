"""Tools for files and folders; `anchor` is how every one of them opens what the host has judged."""
