"""The global Config: a script reads the settings and may tighten them.

Invariant: secrets stay masked, and no script loosens anything: the host's settings refuse it and say how to allow it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from llmspell_hookspecs import FileAccess, InvalidInputError, ScriptGlobal, Services, script_method
from llmspell_hookspecs.errors import ResourceLimitError, SecurityError, SettingsError
from llmspell_hookspecs.language import ScriptScope
from llmspell_hookspecs.services import Clock, SettingsAccess
from llmspell_plugins.json_text import write_text

__all__ = ["Config"]

_ORIGIN: Final = "script"
_SNAPSHOTS: Final = 100
_ENTRIES: Final = 200
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Config(ScriptGlobal):
    """Read the settings, and tighten them."""

    name: ClassVar[str] = "Config"

    def __init__(self, services: Services, scope: ScriptScope) -> None:
        super().__init__(services, scope)
        self._snapshots: dict[int, Any] = {}

    @script_method()
    def get(self, key: str = "", default: Any = None) -> Any:
        """Return a setting or a section by its dotted key, or all settings.

        Args:
            key: Such as ``security.paths.read``; nothing for all.
            default: The answer if there is no such setting.
        """
        value = self._settings.plain(key)
        return default if value is None else value

    @script_method()
    def get_section(self, key: str) -> Any:
        """Return a section by its dotted key, or nothing."""
        return self._settings.plain(key)

    @script_method("get_default_language")
    def get_default_engine(self) -> str:
        """Return the language of a script whose file name does not tell."""
        return str(self._settings.plain("default_language"))

    @script_method()
    def get_provider(self, name: str) -> Any:
        """Return a provider's settings, or nothing."""
        return self._table("providers").get(name)

    @script_method()
    def list_providers(self) -> Sequence[str]:
        """Return the names of the providers that settings describe, sorted."""
        return sorted(name for name, value in self._table("providers").items() if isinstance(value, Mapping))

    @script_method()
    def get_security(self) -> Mapping[str, Any]:
        """Return what may be touched, with the original's allow_* switches beside our rules."""
        allowed = {
            "allow_file_access": self.is_file_access_allowed(),
            "allow_network_access": self.is_network_access_allowed(),
            "allow_process_spawn": False,
        }
        return {**self._table("security"), **allowed}

    @script_method()
    def get_tools(self) -> Mapping[str, Any]:
        """Return the settings of the tools."""
        return self._table("tools")

    @script_method()
    def is_file_access_allowed(self) -> bool:
        """Return whether there is a folder that may be read or written."""
        paths = self._table("security").get("paths", {})
        return bool(paths.get("read") or paths.get("write"))

    @script_method()
    def is_network_access_allowed(self) -> bool:
        """Return whether there is a host that may be talked to."""
        hosts = self._table("security").get("hosts", {})
        return bool(hosts.get("allowed")) and "*" not in hosts.get("denied", ())

    @script_method()
    def get_permissions(self) -> Mapping[str, bool]:
        """Return what a script may do to the settings: read them and tighten them, never loosen or see secrets."""
        return {
            "read": True,
            "tighten": True,
            "modify_providers": False,
            "modify_tools": False,
            "modify_runtime": False,
            "modify_security": False,
            "access_secrets": False,
        }

    @script_method()
    def add_allowed_path(self, path: str) -> bool:
        """Return true if the path may be touched already; a script cannot widen what may be.

        Raises:
            SettingsError: The path is outside what may be touched.
        """
        access = self.services.get(FileAccess)
        try:
            access.resolve(path, "read")
        except SecurityError as error:
            message = (
                f"Config.add_allowed_path: {path!r} is outside what may be touched, which a script cannot widen; "
                "name it under [security.paths] in the user's settings or on the command line"
            )
            raise SettingsError(message, origin=_ORIGIN, key="security.paths.read") from error
        return True

    @script_method()
    async def set(self, key: str, value: Any) -> bool:
        """Change one setting by its dotted key, if that tightens.

        Args:
            key: Such as ``security.paths.denied``.
            value: Of the setting's type; a list or a table of 200 entries at most.

        Raises:
            SettingsError: The key or value is wrong, or the change loosens.
            ResourceLimitError: It has more entries; a settings file may name as many as it likes.
            OperationCancelledError: A hook refused it.
        """
        await self._change(key, value)
        return True

    @script_method()
    async def set_provider(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Change a provider's settings.

        Raises:
            SettingsError: A key or value is wrong, or not for a script to change.
        """
        return await self._change_all(f"providers.{_quoted(name)}", settings)

    @script_method()
    async def set_security(self, settings: Mapping[str, Any]) -> bool:
        """Tighten what may be touched.

        Args:
            settings: Of the form that `get_security` answers; what is left out stays.

        Raises:
            SettingsError: A key or value is wrong, or the change loosens.
        """
        return await self._change_all("security", await self._switches(settings))

    @script_method()
    def snapshot(self) -> int:
        """Remember the settings of now and return the time that names them, in milliseconds since the epoch."""
        stamp = int(self.services.get(Clock).now_s() * 1000)
        while stamp in self._snapshots:
            stamp += 1
        self._snapshots[stamp] = self._settings.plain()
        if len(self._snapshots) > _SNAPSHOTS:
            del self._snapshots[min(self._snapshots)]
        return stamp

    @script_method()
    async def restore_snapshot(self, timestamp: int) -> bool:
        """Change back what is different from a snapshot, as far as that tightens.

        Raises:
            InvalidInputError: There is no such snapshot.
            SettingsError: Going back would loosen what was tightened since.
        """
        if timestamp not in self._snapshots:
            message = f"Config.restore_snapshot: there is no snapshot {timestamp}; give what Config.snapshot answered"
            raise InvalidInputError(message, field="timestamp")
        for key, value in _differences(self._settings.plain(), self._snapshots[timestamp]):
            await self._settings.change(key, value, origin=_ORIGIN)
        return True

    @script_method()
    async def to_json(self) -> str:
        """Return all settings as JSON, secrets masked."""
        return await write_text(self._settings.plain(), pretty=True)

    @property
    def _settings(self) -> SettingsAccess:
        return self.services.get(SettingsAccess)

    def _table(self, section: str) -> Mapping[str, Any]:
        value = self._settings.plain(section)
        return value if isinstance(value, Mapping) else {}

    async def _change_all(self, prefix: str, values: Mapping[str, Any]) -> bool:
        for key, value in _leaves(values):
            await self._change(f"{prefix}.{key}", value)
        return True

    async def _change(self, key: str, value: Any) -> None:
        """Change a setting that is small enough to be judged at once: each entry is held against all that stand."""
        size = len(value) if isinstance(value, list | Mapping) else 0
        if size > _ENTRIES:
            message = (
                f"Config.set: {key} would have {size} entries, a script may set {_ENTRIES}; "
                "use patterns or folders that cover more each, or put them into a settings file"
            )
            raise ResourceLimitError(message, resource="setting_entries", limit=_ENTRIES)
        await self._settings.change(key, value, origin=_ORIGIN)

    async def _switches(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the settings without the original's switches, once these are off or as they stand."""
        rest = dict(settings)
        if rest.pop("allow_process_spawn", False):
            message = "Config.set_security: allow_process_spawn is off and stays off; scripts start no programs"
            raise SettingsError(message, origin=_ORIGIN, key="security")
        for switch, allowed, keys in (
            ("allow_file_access", self.is_file_access_allowed(), ("security.paths.read", "security.paths.write")),
            ("allow_network_access", self.is_network_access_allowed(), ("security.hosts.allowed",)),
        ):
            wanted = rest.pop(switch, allowed)
            if wanted and not allowed:
                message = f"Config.set_security: {switch} is off and a script cannot switch it on; change {keys[0]}"
                raise SettingsError(message, origin=_ORIGIN, key=keys[0])
            for key in keys if allowed and not wanted else ():
                await self._settings.change(key, [], origin=_ORIGIN)
        return rest


def _quoted(name: str) -> str:
    return name if _BARE.fullmatch(name) else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value that is no table, by its dotted key."""
    for name, value in values.items():
        key = prefix + _quoted(str(name))
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, [] if isinstance(value, Mapping) else value


def _differences(now: Any, then: Any) -> Iterator[tuple[str, Any]]:
    """Yield each setting that was different, with the value it had."""
    current = dict(_leaves(now))
    for key, value in _leaves(then):
        if current.get(key, value) != value:
            yield key, value
