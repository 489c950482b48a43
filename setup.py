"""Find the packages of every source root; all else stands in setup.cfg, whose ``find:`` looks in one folder only."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
ROOTS = sorted(folder.name for folder in here.iterdir() if list(folder.glob("llmspell*/py.typed")))
FOUND = {root: find_packages(str(here / root), include=["llmspell*"]) for root in ROOTS}

setup(
    packages=[package for packages in FOUND.values() for package in packages],
    package_dir={
        package: f"{root}/{package}" for root, packages in FOUND.items() for package in packages if "." not in package
    },
)
