"""The patterns of workflows: each orders stages, and does nothing else."""
