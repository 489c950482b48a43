"""The plugin metrics: what ran, how long, how it ended, in the text format of Prometheus."""

from __future__ import annotations

from .plugin import Metrics, MetricsSettings

__all__ = ["Metrics", "MetricsSettings"]
