"""Sections of the settings that the plugins in the box use, apart from those so that they are read fast."""
