"""Settings: layers, origins, errors that name the line and the nearest right key, editing that keeps comments."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from llmspell.settings import LoadedSettings, Settings, change, load_settings, plain, rows
from llmspell.settings.document import set_plugin_enabled
from llmspell.settings.schema import SCHEMA
from llmspell_hookspecs.errors import SettingsError
from llmspell_hookspecs.keys import join, split
from llmspell_hookspecs.toml import lines_of


class Folders:
    """A user's and a project's folder."""

    def __init__(self, root: Path) -> None:
        self.user = root / "user" / "llmspell.toml"
        self.user.parent.mkdir()
        self.project = root / "project"
        (self.project / ".git").mkdir(parents=True)
        self.environment = {"LLMSPELL_CONFIG_HOME": str(self.user.parent), "LLMSPELL_DATA_HOME": str(root / "data")}

    def load(
        self, overrides: Any = None, *, environment: dict[str, str] | None = None, **options: Any
    ) -> LoadedSettings:
        options.setdefault("cwd", self.project)
        return load_settings(overrides, environment={**self.environment, **(environment or {})}, **options)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_each_layer_lies_on_the_one_before_and_each_value_knows_where_it_came_from(folders: Folders) -> None:
    folders.user.write_text("[limits]\ndepth = 31\nhops = 7\n[scripts]\ntime_s = 20\n[tools]\ntime_s = 5\n")
    (folders.project / "llmspell.toml").write_text(
        "\n[limits]\nhops = 6\n[scripts]\ntime_s = 19\n[tools]\ntime_s = 4\n"
    )
    loaded = folders.load(
        {"tools": {"time_s": 2.5}},
        environment={"LLMSPELL_SCRIPTS__TIME_S": "18", "LLMSPELL_TOOLS__TIME_S": "3.5"},
        command_line={"tools.time_s": "3"},
    )

    settings = loaded.settings
    assert (settings.limits.depth, settings.limits.hops) == (31, 6)
    assert (settings.scripts.time_s, plain(loaded, "tools.time_s")) == (18, 2.5)
    assert loaded.origin("security.level").layer == "default"
    assert str(loaded.origin("limits.depth")) == f"{folders.user}:2"
    assert str(loaded.origin("limits.hops")) == f"{folders.project / 'llmspell.toml'}:3"
    assert str(loaded.origin("scripts.time_s")) == "LLMSPELL_SCRIPTS__TIME_S"
    assert loaded.origin("tools.time_s").layer == "code"


def test_the_command_line_wins_over_the_environment(folders: Folders) -> None:
    loaded = folders.load(environment={"LLMSPELL_LIMITS__DEPTH": "3"}, command_line={"limits.depth": "4"})

    assert loaded.settings.limits.depth == 4
    assert str(loaded.origin("limits.depth")) == "--set limits.depth"


def test_false_means_the_defaults_alone(folders: Folders) -> None:
    folders.user.write_text("this is no TOML")

    loaded = folders.load(False, environment={"LLMSPELL_LIMITS__DEPTH": "3"})

    assert loaded.settings == Settings()


@pytest.mark.parametrize("name", ["llmspell.toml", ".llmspell.toml", "config/llmspell.toml", ".config/llmspell.toml"])
def test_the_project_file_is_found_upward(folders: Folders, name: str) -> None:
    file = folders.project / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("[limits]\ndepth = 9")
    deep = folders.project / "a" / "b"
    deep.mkdir(parents=True)

    loaded = folders.load(cwd=deep)

    assert loaded.settings.limits.depth == 9
    assert loaded.project_dir == folders.project


def test_a_file_above_the_repository_is_not_read(folders: Folders) -> None:
    (folders.project.parent / "llmspell.toml").write_text("[limits]\ndepth = 9")

    loaded = folders.load()

    assert loaded.settings.limits.depth == 32
    assert loaded.project_dir == folders.project


def test_without_a_project_file_the_current_folder_is_the_project(folders: Folders) -> None:
    inner = folders.project / "inner"
    inner.mkdir()

    assert folders.load(cwd=inner).project_dir == inner


def test_a_named_file_takes_the_project_files_place(folders: Folders, tmp_path: Path) -> None:
    (folders.project / "llmspell.toml").write_text("[limits]\ndepth = 9\nhops = 1")
    named = tmp_path / "other.toml"
    named.write_text("[limits]\ndepth = 34")

    loaded = folders.load(config=named)

    assert (loaded.settings.limits.depth, loaded.settings.limits.hops) == (34, 8)


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("LLMSPELL_DEFAULT_LANGUAGE", "123", "default_language", "123"),
        ("LLMSPELL_PLUGINS__DISABLED", "a, b", "plugins.disabled", ["a", "b"]),
        ("LLMSPELL_PLUGINS__DISABLED", '["a,b"]', "plugins.disabled", ["a,b"]),
        ("LLMSPELL_PLUGINS__DISABLED", "", "plugins.disabled", []),
        ("LLMSPELL_PLUGINS__AUDIT__ENABLED", "off", "plugins.audit.enabled", False),
        ("LLMSPELL_PLUGINS__AUDIT__SIZE", "12", "plugins.audit.size", 12),
        ("LLMSPELL_PLUGINS__AUDIT__FILE", "a/b.log", "plugins.audit.file", "a/b.log"),
        ("LLMSPELL_PLUGINS__PREFER__AUDIT", "llmspell-audit", "plugins.prefer.audit", "llmspell-audit"),
        ("LLMSPELL_LIMITS__OPERATION_TIME_S", "none", "limits.operation_time_s", None),
        ("LLMSPELL_SECURITY__HOSTS__ALLOW_PRIVATE", "true", "security.hosts.allow_private", True),
        ("LLMSPELL_DEFAULT_ENGINE", "javascript", "default_language", "javascript"),
        ("LLMSPELL_SCRIPT_TIMEOUT_SECONDS", "12", "scripts.time_s", 12),
        ("LLMSPELL_MAX_EXECUTION_TIME_MS", "1500", "limits.operation_time_s", 1.5),
        ("LLMSPELL_MAX_MEMORY_BYTES", "2000000", "scripts.memory_bytes", 2_000_000),
        ("LLMSPELL_ALLOW_FILE_ACCESS", "false", "security.paths.read", []),
        ("LLMSPELL_ALLOW_NETWORK_ACCESS", "false", "security.hosts.allowed", []),
        ("LLMSPELL_TOOLS_ALLOWED_PATHS", "/a,/b", "security.paths.write", ["/a", "/b"]),
    ],
)
def test_a_variable_is_read_as_its_keys_type(folders: Folders, name: str, text: str, key: str, value: Any) -> None:
    loaded = folders.load(environment={name: text})

    assert plain(loaded, key) == value
    assert str(loaded.origin(key)) == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[limits]\ndeepth = 3", ":2: there is no setting limits.deepth; did you mean limits.depth?"),
        ("\n\n[limit]\ndepth = 3", ":3: there is no setting limit; did you mean limits?"),
        ("[security.pathz]\nread = []", ":1: there is no setting security.pathz; did you mean security.paths?"),
        ('[plugins]\ndisabeld = ["a"]', ":2: there is no setting plugins.disabeld; did you mean plugins.disabled?"),
        ("[limits]\n# no number\ndepth = 'ten'", ":3: limits.depth is 'ten'; it should be a valid integer"),
        ("[limits]\ndepth = 0", ":2: limits.depth is 0; it should be greater than or equal to 1"),
        ("[security]\nlevel = 'save'", ":2: security.level is 'save'; did you mean safe?"),
        ("[security]\nlevel = 'x'", ":2: security.level is 'x'; use one of safe, restricted, privileged"),
        ("[security.hosts]\nallowed = '*'", ":2: security.hosts.allowed is '*'; it is a list: write [\"...\"]"),
        ("limits = 3", ":1: limits is 3; it is a table: write [limits]"),
        ("[tools]\nnap = 3", ":2: tools.nap is 3; it is a table: write [tools.nap]"),
        (
            "[plugins.audit]\nenabled = 'perhaps'",
            ":2: plugins.audit.enabled is 'perhaps'; it should be a valid boolean",
        ),
        ("[plugins]\ndisabled = [1]", ":2: plugins.disabled is 1; it should be a valid string"),
        ("a b", ":1: it is no TOML: Expected '=' after a key in a key/value pair (at line 1, column 3); fix it"),
    ],
)
def test_what_is_wrong_names_file_line_and_remedy(folders: Folders, text: str, message: str) -> None:
    folders.user.write_text(text)

    with pytest.raises(SettingsError) as error:
        folders.load()

    assert str(error.value) == f"{folders.user}{message}"
    assert "\n" not in str(error.value)


MALFORMED = {
    "a list in a list that only grows": b"[plugins]\nrequired = [[]]",
    "a table in such a list": b"[security.paths]\ndenied = [{}, {a = 1}]",
    "a thousand tables in each other": b"[plugins" + b".a" * 1000 + b"]\nx = 1",
    "lists in each other": b"x = " + b"[" * 5000,
    "a long value": b"[security]\nlevel = '" + b"y" * 100_000 + b"'",
    "a long key": b"[" + b"y" * 100_000 + b"]",
    "a long list": b"[plugins]\ndisabled = [" + b"'a'," * 30_000 + b"]",
    "too many names": b"[plugins]\ndisabled = [" + b"'a'," * 1001 + b"]",
    "a huge file": b"#" * 2_000_000,
    "a huge number": b"[limits]\ndepth = " + b"9" * 5000,
    "a number beyond floats": b"[tools]\nmemory_bytes = 1" + b"0" * 400 + b"\noutput_bytes = -1",
    "infinitely many": b"[limits]\ndepth = inf",
    "no number": b"[tools]\ntime_s = nan",
    "minus nothing": b"[tools]\ntime_s = -0.0",
    "true for a number": b"[limits]\ndepth = true",
    "a date": b"[limits]\ndepth = 2020-01-01",
    "a key twice": b"[limits]\ndepth = 1\ndepth = 2",
    "UTF-16": "[limits]\ndepth = 1".encode("utf-16"),
    "UTF-32": "[limits]\ndepth = 1".encode("utf-32"),
    "no text": bytes(range(256)),
    "a NUL": b'[security.paths]\nread = ["a\\u0000b"]',
    "an empty path": b"[security.paths]\nread = ['']",
    "a URL for a host": b"[security.hosts]\ndenied = ['https://ann:hunter22@evil.com/']",
    "a password for a host": b"[security.hosts]\nallowed = ['ann:hunter22@evil.com']",
    "a port": b"[security.hosts]\ndenied = ['evil.com:80']",
    "control signs in a key": b'[limits]\n"\\u001b[31m\\n" = 1',
    "control signs in a value": b'[security]\nlevel = "\\u001b"',
    "an order of one": b"[hooks]\norder = ['audit']",
    "an order in a circle": b"[hooks]\norder = ['audit < a < audit']",
    "an unknown section": b"[securty]\nlevel = 1",
    **{
        f"an unknown key in {name}": f"[{name}]\ndeepth = 1".encode()
        for name in Settings.model_fields
        if name not in ("default_language", "plugins", "tools", "providers", "storage")
    },
}


@pytest.mark.parametrize("name", MALFORMED)
def test_whatever_a_file_holds_is_taken_or_is_one_short_line(folders: Folders, name: str) -> None:
    folders.user.write_bytes(MALFORMED[name])

    with pytest.raises(SettingsError) as error:
        folders.load()

    text = str(error.value).replace(str(folders.user), "FILE")
    assert text.startswith("FILE")
    assert text.isprintable()
    assert len(text) <= 400
    assert "hunter22" not in text


@pytest.mark.parametrize("layer", ["user", "project"])
def test_a_byte_order_mark_is_read_over(folders: Folders, layer: str) -> None:
    file = folders.user if layer == "user" else folders.project / "llmspell.toml"
    file.write_bytes(b"\xef\xbb\xbf[limits]\ndepth = 3\n")

    loaded = folders.load()

    assert loaded.settings.limits.depth == 3
    assert str(loaded.origin("limits.depth")) == f"{file}:2"


@pytest.mark.parametrize(
    "value", [{1: 2}, {"plugins": {3: {}}}, {"plugins": {"a": {None: 1}}}, {"limits": {b"depth": 1}}]
)
def test_a_key_that_is_no_text_is_named(folders: Folders, value: Any) -> None:
    with pytest.raises(SettingsError, match=r"^code: the key .* is no text; write keys as text$"):
        folders.load(value)


def test_tables_in_a_circle_are_refused(folders: Folders) -> None:
    circle: dict[str, Any] = {}
    circle["plugins"] = {"a": circle}

    with pytest.raises(SettingsError, match="nested more than 32 deep"):
        folders.load(circle)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("LLMSPELL_security_level", "LLMSPELL_SECURITY__LEVEL"),
        ("LLMSPELL_SECURITY__PATHS_READ", "LLMSPELL_SECURITY__PATHS__READ"),
        ("LLMSPELL_SECURITY___LEVEL", "LLMSPELL_SECURITY__LEVEL"),
        ("LLMSPELL_SECURITY_LEVEL_", "LLMSPELL_SECURITY__LEVEL"),
        ("LLMSPELL_DEFAULT__LANGUAGE", "LLMSPELL_DEFAULT_LANGUAGE"),
        ("LLMSPELL_PLUGINS_AUDIT_ENABLED", "LLMSPELL_PLUGINS__AUDIT__ENABLED"),
        *(
            ("LLMSPELL_" + "_".join(path).upper(), "LLMSPELL_" + "__".join(path).upper())
            for path in SCHEMA.keys
            if len(path) > 1
        ),
    ],
)
def test_a_variable_whose_parts_are_joined_otherwise_is_refused_with_its_right_name(
    folders: Folders, name: str, right: str
) -> None:
    with pytest.raises(SettingsError) as error:
        folders.load(environment={name: "1"})

    assert str(error.value) == f"{name}: there is no such setting; write {right}"


def test_any_other_variable_is_warned_about(folders: Folders) -> None:
    warnings = folders.load(environment={"LLMSPELL_COLOUR": "blue", "LLMSPELL_SECURTY_LEVEL": "safe"}).warnings

    assert warnings == (
        "LLMSPELL_COLOUR: there is no such setting; unset it, unless a plugin reads it",
        "LLMSPELL_SECURTY_LEVEL: there is no such setting; did you mean LLMSPELL_SECURITY__LEVEL?",
    )


def test_a_wrong_variable_is_named(folders: Folders) -> None:
    with pytest.raises(
        SettingsError, match=r"^LLMSPELL_LIMITS__DEEPTH: there is no setting limits\.deepth; did you mean"
    ):
        folders.load(environment={"LLMSPELL_LIMITS__DEEPTH": "3"})
    with pytest.raises(SettingsError, match=r"^LLMSPELL_SCRIPT_TIMEOUT_SECONDS: 'soon' is no number"):
        folders.load(environment={"LLMSPELL_SCRIPT_TIMEOUT_SECONDS": "soon"})


def test_a_wrong_option_is_named(folders: Folders) -> None:
    with pytest.raises(SettingsError, match=r"^--set limits\.depth: limits\.depth is 'x'"):
        folders.load(command_line={"limits.depth": "x"})
    with pytest.raises(SettingsError, match=r"'a\.\.b' is no key"):
        folders.load(command_line={"a..b": "x"})


def test_a_file_that_is_not_there_is_named(folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.toml: it cannot be read: No such file"):
        folders.load(config=tmp_path / "gone.toml")


def test_what_looks_mistyped_is_warned_about(folders: Folders) -> None:
    folders.user.write_text("[plugins.audit]\nrequierd = true")

    warnings = folders.load(environment={"LLMSPELL_DEFAULT_LANGAUGE": "lua"}).warnings

    assert warnings == (
        "LLMSPELL_DEFAULT_LANGAUGE: there is no such setting; did you mean LLMSPELL_DEFAULT_LANGUAGE?",
        f"{folders.user}:2: plugins.audit.requierd is taken as the plugin's own; did you mean required?",
    )


def test_a_secret_reaches_its_plugin_and_nobody_else(folders: Folders) -> None:
    secret = {"api_key": "hunter2", "nested": {"db_password": ["hunter2"]}, "max_tokens": 5, "name": "audit"}

    loaded = folders.load({"plugins": {"audit": secret}, "tools": {"mail": {"smtp_password": "hunter2"}}})

    assert loaded.settings.table("plugins", "audit") == secret
    assert loaded.settings.table("tools", "mail") == {"smtp_password": "hunter2"}
    assert "hunter2" not in repr(loaded) + repr(list(rows(loaded))) + repr(plain(loaded))
    assert plain(loaded, "plugins.audit.max_tokens") == 5
    assert plain(loaded, "plugins.audit.api_key") == "********"


def test_a_secret_is_in_no_error(folders: Folders) -> None:
    (folders.project / "llmspell.toml").write_text("[plugins.audit]\napi_key = 'hunter2'")

    with pytest.raises(SettingsError) as error:
        folders.load()

    assert "hunter2" not in str(error.value)


def test_the_plain_view_is_a_copy(folders: Folders) -> None:
    loaded = folders.load()

    plain(loaded, "plugins")["disabled"].append("audit")

    assert plain(loaded, "plugins")["disabled"] == []
    assert plain(loaded, "no.such.section") is None


def test_a_change_leaves_the_old_settings_as_they_were(folders: Folders) -> None:
    loaded = folders.load({"tools": {"mail": {"host": "a", "port": 1}}})

    changed = change(loaded, "tools.mail.host", "b", "code")

    assert loaded.settings.table("tools", "mail") == {"host": "a", "port": 1}
    assert changed.settings.table("tools", "mail") == {"host": "b", "port": 1}


@pytest.mark.parametrize(
    ("table", "enabled", "required"),
    [
        ({}, True, False),
        ({"disabled": ["audit"]}, False, False),
        ({"disabled": ["audit"], "audit": {"enabled": True}}, True, False),
        ({"required": ["audit"]}, True, True),
        ({"audit": {"required": True, "enabled": False}}, False, True),
    ],
)
def test_a_plugins_own_switch_wins_over_the_lists(folders: Folders, table: Any, enabled: bool, required: bool) -> None:
    settings = folders.load({"plugins": table}).settings

    assert settings.plugin("audit").enabled is enabled
    assert settings.plugin("audit").required is required
    assert settings.required_plugins() == (("audit",) if required else ())


def test_scripts_read_no_secret_variable_unless_it_is_spelled_out(folders: Folders) -> None:
    default: Any = folders.load().settings.security
    spelled: Any = folders.load({"security": {"environment": ["LLMSPELL_API_KEY"]}}).settings.security

    assert default.reads_variable("HOME")
    assert default.reads_variable("LLMSPELL_LIMITS__DEPTH")
    assert not default.reads_variable("LLMSPELL_API_KEY")
    assert not default.reads_variable("AWS_REGION")
    assert spelled.reads_variable("LLMSPELL_API_KEY")


def test_disabling_a_plugin_keeps_comments_and_layout(tmp_path: Path) -> None:
    file = tmp_path / "llmspell.toml"
    file.write_text('# mine\n[plugins]\ndisabled = [\n  "old", # too slow\n]\n\n[limits] # few\ndepth = 3\n')

    assert set_plugin_enabled(file, "audit", enabled=False)

    text = file.read_text()
    assert tomllib.loads(text) == {"plugins": {"disabled": ["old", "audit"]}, "limits": {"depth": 3}}
    assert "# mine" in text
    assert "# too slow" in text
    assert "[limits] # few" in text


def test_enabling_undoes_disabling(tmp_path: Path) -> None:
    file = tmp_path / "new" / "llmspell.toml"

    disabled = set_plugin_enabled(file, "audit", enabled=False)
    again = set_plugin_enabled(file, "audit", enabled=False)
    enabled = set_plugin_enabled(file, "audit", enabled=True)

    assert (disabled, again, enabled) == (True, False, True)
    assert tomllib.loads(file.read_text())["plugins"]["disabled"] == []


def test_a_plugins_own_switch_is_turned_where_it_is_there(tmp_path: Path) -> None:
    file = tmp_path / "llmspell.toml"
    file.write_text("[plugins.audit]\nenabled = true # keep\n")

    set_plugin_enabled(file, "audit", enabled=False)

    table = tomllib.loads(file.read_text())["plugins"]
    assert not Settings.model_validate({"plugins": table}).plugin("audit").enabled
    assert "# keep" in file.read_text()


@pytest.mark.parametrize(
    "written", ["", "[limits]\ndepth = 3\n", "[plugins]\ndisabled = ['a']\n", "plugins.a.enabled = true\n"]
)
def test_an_optional_plugin_is_off_until_it_is_enabled_in_a_table_of_its_own(tmp_path: Path, written: str) -> None:
    file = tmp_path / "llmspell.toml"
    file.write_text(written)

    def is_on() -> bool:
        return Settings.model_validate(tomllib.loads(file.read_text())).plugin("audit", optional=True).enabled is True

    before = is_on()
    changed = [set_plugin_enabled(file, "audit", on, optional=True) for on in (False, True, True)]
    enabled = is_on()
    changed.append(set_plugin_enabled(file, "audit", False, optional=True))

    assert (before, enabled, is_on()) == (False, True, False)
    assert changed == [False, True, False, True]
    assert all(line in file.read_text() for line in written.splitlines())


def test_enabling_what_is_not_disabled_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "llmspell.toml"

    assert not set_plugin_enabled(file, "audit", enabled=True)
    assert not file.exists()


def test_lines_are_found_in_any_layout() -> None:
    text = (
        '# c = 1\na = """\nb = 2\n[x]\n"""\n"q.r".s = [ # =\n  1,\n  {t = 2},\n]\n\n[ x . "y" ] # [z]\n'
        "  k = '''\nm = 1'''\n[[list]]\nn = 1\n"
    )

    assert lines_of(text) == {
        ("a",): 2,
        ("q.r", "s"): 6,
        ("x", "y"): 11,
        ("x", "y", "k"): 12,
        ("list",): 14,
        ("list", "n"): 15,
    }


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\"'\\", exclude_categories=["C", "Z"]), min_size=1, max_size=5
)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_splitting_undoes_joining(path: list[str]) -> None:
    assert split(join(path)) == tuple(path)


VALUES = st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=3)


@given(st.dictionaries(NAMES, VALUES | st.dictionaries(NAMES, VALUES, max_size=3), max_size=4))
def test_every_key_that_tomllib_reads_has_the_line_that_it_stands_on(table: dict[str, Any]) -> None:
    text = tomlkit.dumps(table)

    lines = lines_of(text)

    for name, value in table.items():
        if not isinstance(value, dict):
            assert text.split("\n")[lines[(name,)] - 1].lstrip().startswith((name, f'"{name}'))
        for inner in value if isinstance(value, dict) else ():
            assert text.split("\n")[lines[(name, inner)] - 1].lstrip().startswith((inner, f'"{inner}'))


@pytest.mark.parametrize("key", ["storage.backend", "limits.hops", "tools.time_s", "security.level", "plugins.audit.x"])
@pytest.mark.parametrize("wrap", [lambda number: number, lambda number: [number], lambda number: {"a": {"b": number}}])
def test_a_number_of_more_than_64_bits_is_refused_wherever_it_stands(
    folders: Folders, key: str, wrap: Callable[[int], Any]
) -> None:
    folders.project.joinpath("llmspell.toml").write_text("")

    with pytest.raises(SettingsError, match="a number has 16610 bits, and at most 64 are taken; write a smaller one"):
        folders.load(command_line={key: wrap(10**5000)})
    folders.user.write_text(f"{key} = {hex(10**5000)}\n")
    with pytest.raises(SettingsError, match="a number has 16610 bits, and at most 64 are taken; write a smaller one"):
        folders.load()


@pytest.mark.parametrize(
    "key", ["plugins.required", "security.paths.denied", "security.hosts.denied", "tools.disabled"]
)
def test_a_list_below_a_list_that_only_grows_is_refused_as_no_list(folders: Folders, key: str) -> None:
    folders.project.joinpath("llmspell.toml").write_text(f'{key}.x = ["a"]\n')

    with pytest.raises(SettingsError, match=f"llmspell.toml:1: {key} is .*; it is a list: write"):
        folders.load()


@pytest.mark.parametrize("variable", ["LLMSPELL_CONFIG_HOME", "LLMSPELL_DATA_HOME"])
def test_a_folder_whose_name_cannot_be_written_is_refused(folders: Folders, variable: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable}: '.ud800' can be no path"):
        folders.load(environment={variable: "\ud800"})


@pytest.mark.parametrize("key", ["\ud800", "x.\udcff", "plugins.audit.\ud800", "security.\udcff"])
def test_a_key_that_is_no_utf_8_is_refused_by_name(folders: Folders, key: str) -> None:
    variable = f"LLMSPELL_{key.replace('.', '__')}__X"

    for layer in ({"command_line": {key: "1"}}, {"environment": {variable: "1"}}):
        with pytest.raises(SettingsError, match=r"the key .* is no UTF-8; write it so"):
            folders.load(**layer)


@pytest.mark.parametrize(
    ("key", "text", "why"),
    [
        ("tools.disabled", "[broken", "Invalid value"),
        ("tools.disabled", '["a"', "Unclosed array"),
        ("tools.http_request.timeout_s", '"a', "Unterminated string"),
        ("plugins.audit.more", "{a", "Expected '=' after a key"),
        ("plugins.audit.more", "[" * 5000, "nested too deeply"),
    ],
)
def test_a_value_that_begins_as_toml_and_is_none_is_named_and_not_taken_for_a_text(
    folders: Folders, key: str, text: str, why: str
) -> None:
    variable = f"LLMSPELL_{key.upper().replace('.', '__')}"

    with pytest.raises(SettingsError, match=f"--set {key}: it begins as TOML and is none: {why}.*stands in quotes"):
        folders.load(command_line={key: text})
    with pytest.raises(SettingsError, match=f"{variable}: it begins as TOML and is none: {why}"):
        folders.load(environment={variable: text})


def test_a_secret_may_begin_with_any_sign(folders: Folders) -> None:
    loaded = folders.load(command_line={"plugins.audit.password": "[s3cret"})

    assert loaded.settings.table("plugins", "audit") == {"password": "[s3cret"}
