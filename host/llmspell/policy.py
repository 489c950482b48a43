"""What components may touch and use now: the judges that the settings ask for.

Invariant: one value holds all of it; a change of settings makes a new one, and whoever judges asks for it at each call.
"""

from __future__ import annotations

from typing import Literal

from llmspell.operations import RunnerLimits
from llmspell.security import HostJudge, PathJudge
from llmspell.settings import LoadedSettings, Settings
from llmspell_hookspecs import SecurityLevel
from llmspell_hookspecs.bucket import TokenRate
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.language import ScriptLimits

__all__ = ["Policies", "flow_limit", "runner_limits"]


class Policies:
    """The judges of one host; implements the contract's `FileAccess` and `Levels`.

    Args:
        loaded: The settings.

    Attributes:
        level: The highest level of a component that runs.
        files: Judges paths.
        hosts: Judges hosts.
        script_limits: What a script may use.
    """

    level: SecurityLevel
    files: PathJudge
    hosts: HostJudge
    script_limits: ScriptLimits

    def __init__(self, loaded: LoadedSettings) -> None:
        self.hosts = loaded.judges.hosts
        self.apply(loaded)

    def apply(self, loaded: LoadedSettings) -> None:
        """Judge by these settings from now on."""
        settings, scripts = loaded.settings, loaded.settings.scripts
        self.level = SecurityLevel[settings.security.level.upper()]
        self.files = loaded.judges.files
        if self.hosts.rules != loaded.judges.hosts.rules:  # the same object as long as nothing changed
            self.hosts = loaded.judges.hosts
        self.script_limits = ScriptLimits(
            scripts.memory_bytes,
            scripts.instructions,
            scripts.time_s,
            scripts.callback_s,
            scripts.slices,
            scripts.value_items,
            scripts.value_bytes,
        )

    def resolve(self, path: str, mode: Literal["read", "write"], /) -> str:
        """Return the path with every link resolved; see the contract's `FileAccess`."""
        return self.files.resolve(path, mode)

    def roots(self, mode: Literal["read", "write"], /) -> tuple[str, ...]:
        """Return the folders that may be touched so."""
        return self.files.roots(mode)

    def check(self, component: str, level: SecurityLevel, /) -> None:
        """Refuse a component whose level is too high; see the contract's `Levels`."""
        if level > self.level:
            message = (
                f"{component}: its level is {level.name.lower()}, and the highest that runs here is "
                f"{self.level.name.lower()}; the setting security.level allows more"
            )
            raise SecurityError(message, rule="level")


def runner_limits(loaded: LoadedSettings) -> RunnerLimits:
    """Return how far operations may go by these settings."""
    limits, performance = loaded.settings.limits, loaded.settings.performance
    return RunnerLimits(
        limits.depth,
        limits.hops,
        performance.slow_operation_ms,
        limits.operation_time_s,
        limits.forks,
        limits.descendants,
        loaded.settings.hooks.final_s,
        loaded.settings.scripts.retry_delay_s,
    )


def flow_limit(settings: Settings) -> TokenRate | None:
    """Return how fast a source may publish by these settings; None for as fast as it likes."""
    rate = settings.events.source_rate
    return None if rate is None else TokenRate(rate, settings.events.source_burst)
