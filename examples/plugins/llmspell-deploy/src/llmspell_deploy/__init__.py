"""Deployments as a kind of component: ``deploy:<target>``, with hook points, a verb and a script global."""

from __future__ import annotations

from .kind import DeployKind, Deployment, Folder, Target

__all__ = ["DeployKind", "Deployment", "Folder", "Target"]
