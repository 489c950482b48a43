"""Whatever a tightened rule permits, the rule before it permitted: random rules, judged by those who enforce them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmspell.security import HostJudge
from llmspell.settings import change, load_settings
from llmspell_hookspecs import Policy
from llmspell_hookspecs.errors import SecurityError, SettingsError
from llmspell_hookspecs.globs import Globs
from llmspell_hookspecs.host_rules import HostRules
from llmspell_hookspecs.network import Target
from llmspell_hookspecs.path_rules import PathJudge, PathRules
from llmspell_hookspecs.policy import loosens
from llmspell_plugins.settings.variables import VariableSettings

FEW = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))


def path_rules(read: tuple[str, ...], write: tuple[str, ...], denied: tuple[str, ...]) -> PathRules:
    """Rules as they are, without what settings refuse or spell anew."""
    return PathRules.model_construct(read=read, write=write, denied=denied)


def host_rules(
    allowed: tuple[str, ...], denied: tuple[str, ...], private: tuple[str, ...], allow_private: bool
) -> HostRules:
    return HostRules.model_construct(allowed=allowed, denied=denied, private=private, allow_private=allow_private)


SIGNS = st.sampled_from(["a", "b", "c", ".", "*", "?", "[ab]", "[!a]", "[corp]", "[", "]", "-", "!"])
GLOBS = st.lists(SIGNS, max_size=6).map("".join)
TEXTS = st.text("abcop.[]-!", max_size=6)

PARTS = st.sampled_from(["work", ".git", "hooks", "id_rsa", "sub", "link", "..", ".", "WORK", "own", "~", ""])
PLACES = st.lists(PARTS, max_size=5).map("/".join) | st.sampled_from(["/", "<tmp>", "/etc", "/proc", ".", "link/"])
DENIED = st.sampled_from(["id_rsa*", "*.pem", "sub/*", "**/hooks", "ID_*", "*", "id_rsa", "work", "[iw]d*"])
PATH_RULES = st.builds(
    lambda read, write, denied: path_rules(tuple(read), tuple(write), tuple(denied)),
    st.lists(PLACES, max_size=3),
    st.lists(PLACES, max_size=3),
    st.lists(DENIED, max_size=2),
)

HOSTS = ("a.corp", "b.corp", "corp", "a.b.corp", "10.evil.org", "metadata", "xn--bcher-kva.de", "93.184.215.14", "::1")
ADDRESSES = (
    "10.1.2.3",
    "127.0.0.1",
    "169.254.169.254",
    "93.184.215.14",
    "::1",
    "::ffff:10.1.2.3",
    "64:ff9b::a01:203",
    "2606:4700::1",
    "fd00:ec2::254",
)
ENTRIES = st.sampled_from(
    [
        *HOSTS,
        *ADDRESSES,
        *("*", "**", "*.corp", "?.corp", "[ab].corp", "*[corp]*", "*corp*", "*[!.]corp", "10.*", "1*", "169.254.*"),
        *("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "::/0", "169.254.0.0/16", "::ffff:0:0/96", "A.CORP", "a.corp."),
    ]
)
HOST_RULES = st.builds(
    lambda allowed, denied, private, on: host_rules(tuple(allowed), tuple(denied), tuple(private), on),
    st.lists(ENTRIES, max_size=3),
    st.lists(ENTRIES, max_size=2),
    st.lists(ENTRIES, max_size=2),
    st.booleans(),
)
VARIABLES = st.sampled_from(["HOME", "LC_*", "LC_ALL", "*", "API_KEY", "API_*", "?OME", "[HL]*", "MY_TOKEN", "*TOKEN*"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("tree")
    (base / "work" / ".git" / "hooks").mkdir(parents=True)
    (base / "work" / "sub" / "hooks").mkdir(parents=True)
    (base / "own").mkdir()
    (base / "work" / "link").symlink_to(base)
    (base / "link").symlink_to("work/.git")
    return base


def permits(judge: Any, *arguments: Any) -> bool:
    try:
        judge(*arguments)
    except SecurityError:
        return False
    return True


def check_globs(wide: list[str], narrow: list[str], text: str) -> None:
    judge, other = Globs(wide), Globs(narrow)
    if judge.cover(other) and any(fnmatchcase(text, glob) for glob in narrow):
        assert any(fnmatchcase(text, glob) for glob in wide)


def check_paths(tree: Path, old: PathRules, new: PathRules, path: str) -> None:
    before = PathJudge(old, str(tree), own=["own", "link/deep"])
    after = before.with_rules(new)
    beyond = after.exceeds(before)
    for mode in ("read", "write"):
        if mode not in beyond and "denied" not in beyond and permits(after.resolve, path, mode):
            assert permits(before.resolve, path, mode)


def check_hosts(old: HostRules, new: HostRules, host: str, addresses: list[str]) -> None:
    before, after = HostJudge(old), HostJudge(old).with_rules(new)
    shown = f"[{host}]" if ":" in host else host

    def judge(judge: HostJudge) -> None:
        target: Target = judge.locate(f"http://{shown}/")
        judge.judge(target, addresses)

    if not after.exceeds(before) and permits(judge, after):
        assert permits(judge, before)


def check_variables(old: list[str], new: list[str], name: str) -> None:
    if not loosens(Policy.VARIABLES_WITHIN, tuple(old), tuple(new)):
        before, after = (VariableSettings(environment=tuple(names)) for names in (old, new))
        assert before.reads_variable(name) or not after.reads_variable(name)


def _near(entries: st.SearchStrategy[str], old: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    """Lists that have much in common with the old one, so that many tighten it."""
    some = st.lists(st.sampled_from(old), max_size=3) if old else st.just([])
    return st.tuples(some, st.lists(entries, max_size=1)).map(lambda lists: (*lists[0], *lists[1]))


def _paths_after(old: PathRules) -> st.SearchStrategy[PathRules]:
    denied = st.lists(DENIED, max_size=1).map(lambda more: (*old.denied, *more))
    return st.builds(path_rules, _near(PLACES, old.read), _near(PLACES, old.write), denied)


def _hosts_after(old: HostRules) -> st.SearchStrategy[HostRules]:
    denied = st.lists(ENTRIES, max_size=1).map(lambda more: (*old.denied, *more))
    return st.builds(host_rules, _near(ENTRIES, old.allowed), denied, _near(ENTRIES, old.private), st.booleans())


GLOB_CASES = st.tuples(st.lists(GLOBS, max_size=2), st.lists(GLOBS, max_size=2), TEXTS)
PATH_CASES = PATH_RULES.flatmap(lambda old: st.tuples(st.just(old), _paths_after(old), PLACES))
HOST_CASES = HOST_RULES.flatmap(
    lambda old: st.tuples(
        st.just(old),
        _hosts_after(old),
        st.sampled_from(HOSTS),
        st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=2),
    )
)
VARIABLE_CASES = st.tuples(
    st.lists(VARIABLES, max_size=3),
    st.lists(VARIABLES, max_size=3),
    st.sampled_from(["HOME", "LC_ALL", "LC_X", "API_KEY", "API_URL", "MY_TOKEN", "API_*", "SHELL"]),
)


@FEW
@given(GLOB_CASES)
def test_a_glob_that_is_covered_matches_nothing_that_its_cover_does_not(case: Any) -> None:
    check_globs(*case)


@FEW
@given(case=PATH_CASES)
def test_what_tightened_paths_permit_was_permitted(tree: Path, case: Any) -> None:
    check_paths(tree, *case)


@FEW
@given(HOST_CASES)
def test_what_tightened_hosts_permit_was_permitted(case: Any) -> None:
    check_hosts(*case)


@FEW
@given(VARIABLE_CASES)
def test_what_tightened_variables_show_was_shown(case: Any) -> None:
    check_variables(*case)


@pytest.mark.long
@MANY
@given(cases=st.tuples(GLOB_CASES, PATH_CASES, HOST_CASES, VARIABLE_CASES))
def test_ten_thousand_random_rules_loosen_nothing(tree: Path, cases: Any) -> None:
    globs, paths, hosts, variables = cases

    check_globs(*globs)
    check_paths(tree, *paths)
    check_hosts(*hosts)
    check_variables(*variables)


@pytest.mark.parametrize(
    ("user", "key", "value"),
    [
        ({}, "security.paths.read", [".", ".git"]),
        ({}, "security.paths.write", [".git/hooks"]),
        ({}, "security.paths.read", ["sub/.hidden/deep"]),
        ({}, "security.paths.read", ["to_git"]),
        ({"security": {"hosts": {"allowed": ["*corp*"]}}}, "security.hosts.allowed", ["*[a-z]*"]),
        ({"security": {"hosts": {"allowed": ["*corp*"]}}}, "security.hosts.allowed", ["*[corp]*"]),
        ({"security": {"hosts": {"allowed": ["10.*"]}}}, "security.hosts.allowed", ["10.1.2.3"]),
        ({"security": {"hosts": {"private": ["169.254.0.0/16"]}}}, "security.hosts.private", ["169.254.169.254"]),
        ({"security": {"hosts": {"private": ["*.internal"]}}}, "security.hosts.private", ["metadata.google.internal"]),
        ({"security": {"environment": ["*"]}}, "security.environment", ["*", "API_KEY"]),
        ({"limits": {"operation_time_s": 5}}, "limits.operation_time_s", None),
        ({}, "tools.disabled", []),
    ],
)
def test_a_script_opens_nothing_by_another_spelling(tmp_path: Path, user: Any, key: str, value: Any) -> None:
    (tmp_path / ".git" / "hooks").mkdir(parents=True)
    (tmp_path / "to_git").symlink_to(".git")
    known = {"tools": {"disabled": ["calculator"]}, **user}
    loaded = load_settings(known, cwd=tmp_path, environment=_environment(tmp_path))

    with pytest.raises(SettingsError, match="loosens policy"):
        change(loaded, key, value, "script")


def test_a_hidden_folder_that_trusted_settings_name_may_be_narrowed(tmp_path: Path) -> None:
    loaded = load_settings(
        {"security": {"paths": {"read": [".cache/mine"]}}}, cwd=tmp_path, environment=_environment(tmp_path)
    )

    narrowed = change(loaded, "security.paths.read", [".cache/mine/sub"], "script")

    assert permits(narrowed.judges.files.resolve, ".cache/mine/sub/a", "read")
    assert not permits(narrowed.judges.files.resolve, ".cache/mine/a", "read")


def test_an_allowed_folder_that_becomes_a_link_later_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    loaded = load_settings(
        {"security": {"paths": {"read": ["data"]}}}, cwd=tmp_path, environment=_environment(tmp_path)
    )
    (tmp_path / "data").rmdir()
    (tmp_path / "data").symlink_to("/usr")

    later = change(loaded, "limits.depth", 3, "script")
    later = change(later, "security.paths.write", ["data"], "script")

    assert not permits(later.judges.files.resolve, "data/bin", "read")
    assert not permits(later.judges.files.resolve, "/usr/bin", "read")


def test_what_cannot_be_decided_with_little_work_loosens() -> None:
    wide = [f"*a{number}*b*c*" for number in range(500)]
    narrow = [f"*a{number}*b*c*d" for number in range(500, 1000)]

    assert not Globs(wide).cover(Globs(narrow))


def _environment(folder: Path) -> dict[str, str]:
    return {"LLMSPELL_CONFIG_HOME": str(folder / "config"), "LLMSPELL_DATA_HOME": str(folder / "data_home")}
