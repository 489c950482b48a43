"""The kinds of component in the box: each runs what stands behind its colon."""
