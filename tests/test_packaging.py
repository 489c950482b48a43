"""What is built is the tree: every module and data file of every source root, found and not listed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_TRASH = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "dist")
pytestmark = pytest.mark.long


def source_roots(tree: Path) -> list[Path]:
    return sorted(path.parent.parent for path in tree.glob("*/llmspell*/py.typed"))


def copied(tree: Path) -> Path:
    """Copy what a build reads, so that none of its traces stay in the working tree."""
    for root in source_roots(ROOT):
        shutil.copytree(root, tree / root.name, ignore=_TRASH)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    return tree


def build(tree: Path, form: str) -> Path:
    """Build a tree in one form (``wheel``, ``sdist``, ``editable``), as pip asks for it; return the file."""
    (tree / "dist").mkdir(exist_ok=True)
    code = f"from setuptools import build_meta; build_meta.build_{form}('dist')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (made,) = (tree / "dist").iterdir()
    return made


def own_files(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def present(tree: Path) -> set[str]:
    """Return every file that lies in a package, as it is called inside a wheel."""
    return {
        str(path.relative_to(root))
        for root in source_roots(tree)
        for package in root.glob("llmspell*")
        for path in package.rglob("*")
        if path.is_file() and not {"__pycache__"} & set(path.parts) and ".egg-info" not in str(path)
    }


def test_a_wheel_built_from_a_source_distribution_holds_exactly_the_tree(tmp_path: Path) -> None:
    source = build(copied(tmp_path), "sdist")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()

    wheel = build(unpacked, "wheel")

    assert len(source_roots(ROOT)) >= 3
    assert own_files(wheel) == present(ROOT)


def test_an_added_package_is_found_without_being_listed(tmp_path: Path) -> None:
    tree = copied(tmp_path)
    added = tree / "plugins" / "llmspell_plugins" / "added"
    added.mkdir()
    (added / "__init__.py").write_text('"""Added."""\n')

    wheel = build(tree, "wheel")

    assert own_files(wheel) == present(ROOT) | {"llmspell_plugins/added/__init__.py"}


def test_an_editable_installation_imports_every_root_from_the_tree(tmp_path: Path) -> None:
    tree = copied(tmp_path)
    site = tmp_path / "site"
    names = {package.name for root in source_roots(tree) for package in root.glob("llmspell*")}

    zipfile.ZipFile(build(tree, "editable")).extractall(site)
    code = (
        f"import sys, importlib, site; sys.path = [{str(site)!r}, *sys.path, *{libraries()!r}]\n"
        f"site.addsitedir({str(site)!r})\n"
        f"for name in {sorted(names)}: print(importlib.import_module(name).__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert {Path(line).parent.name for line in done.stdout.split()} == names
    assert all(Path(line).is_relative_to(tree) for line in done.stdout.split())


def libraries() -> list[str]:
    """Return where libraries lie; with ``-S`` the installation of this tree there is not seen."""
    return [path for path in sys.path if path.endswith("site-packages")]
