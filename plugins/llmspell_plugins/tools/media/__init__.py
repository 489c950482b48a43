"""Tools for images, sound and video."""
