"""Services: what plugins, scripts and the host's users share, each kept under its protocol in the contract."""

from __future__ import annotations
