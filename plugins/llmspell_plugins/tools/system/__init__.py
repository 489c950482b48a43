"""Tools for the machine: its environment, programs, services and load."""
