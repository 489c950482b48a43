"""What the stages of a run share: a mapping whose every read and write passes ``workflow_shared_data``.

It is read within sync functions, so its point is asked without waiting.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any, Final, Literal

from llmspell_hookspecs.bounds import ATOMS
from llmspell_hookspecs.context import ComponentRef
from llmspell_hookspecs.errors import InvalidInputError, OperationError
from llmspell_hookspecs.operation import Operation, OperationKind, Operations
from llmspell_hookspecs.spelling import told
from llmspell_hookspecs.workflow import SharedAccess
from llmspell_plugins.kinds.hiding import exact, hide_value
from llmspell_plugins.services.state_value import decode, encode

__all__ = ["MAX_BYTES", "Shared", "copied", "held_still"]

MAX_BYTES: Final = 10_000_000
"""How large what is kept of a run may be, each by itself."""
_POINT: Final = "workflow_shared_data"
_ACCESS: Final = OperationKind("workflow_shared", before=_POINT, result=SharedAccess, sync=True, composes=True)


class Shared(MutableMapping[str, Any]):
    """Shared data of one run.

    Args:
        data: What it begins with.
        operations: Asks the point.
        component: The workflow.
        run_id: The run's.
        written: Told what is written, as ``{"value": ...}``; without a value what is deleted.
        copies: Whether what is read is a value of the reader's own, so that only what is written is shared.
    """

    def __init__(
        self,
        data: dict[str, Any],
        operations: Operations,
        component: ComponentRef,
        run_id: str,
        written: Callable[[str, Mapping[str, Any]], None] | None = None,
        copies: bool = False,
    ) -> None:
        self._data, self._operations, self._component, self._run_id = data, operations, component, run_id
        self._written, self._copies = written, copies
        self._where = f"workflow {component.name}: what its stages share"

    def __getitem__(self, key: str) -> Any:
        value = self._ask("read", key, self._data[key])
        return copied(value) if self._copies else value

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise InvalidInputError(f"{self._where}: its key {told(key, 80)} is no text; give one", field="key")
        value = self._ask("write", key, value)
        if self._copies and type(value) not in ATOMS:
            where = f"{self._where} {key!r:.80}"
            value = decode(where, encode(where, value, MAX_BYTES))
        elif self._copies:  # what cannot be kept fails whoever shares it, not the record of that
            encode(f"{self._where} {key!r:.80}", value, MAX_BYTES)
        self._data[key] = value
        if self._written is not None:
            self._written(key, {"value": self._data[key]})

    def __delitem__(self, key: str) -> None:
        self._ask("write", key, None)
        del self._data[key]
        if self._written is not None:
            self._written(key, {})

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def _ask(self, mode: Literal["read", "write"], key: str, value: Any) -> Any:
        if not self._operations.asks((_POINT,), self._component.name):
            return value
        access = SharedAccess(self._run_id, mode, key, hide_value(value, key))
        asking: Any = self._operations.execute(Operation(_ACCESS, self._component, access, _same))
        try:
            asking.send(None)
        except StopIteration as stop:
            return exact(stop.value.value)
        asking.close()
        raise OperationError(f"{_POINT}: a hook waits, and its hooks may not; make it sync")


async def _same(access: SharedAccess) -> SharedAccess:
    return access


class _Pickler(pickle.Pickler):
    """Pickles what Python has built in, in one go that nobody can write into."""

    def reducer_override(self, value: Any) -> Any:
        raise pickle.PicklingError(type(value).__name__)


def held_still(value: Any) -> Callable[[], Any] | None:
    """Return what makes a copy of a value as it is now, in a thread too; None if it holds more than is built in.

    What it takes here is a twentieth of what it takes to walk the value.
    """
    into = io.BytesIO()
    pickler = _Pickler(into, pickle.HIGHEST_PROTOCOL)
    pickler.fast = True
    try:
        pickler.dump(value)
    except (pickle.PicklingError, RecursionError, ValueError):  # ValueError: it holds itself
        return None
    return partial(pickle.loads, into.getbuffer())


def copied(value: Any) -> Any:
    """Return a plain value with fresh mappings and lists."""
    if type(value) in ATOMS:
        return value
    if isinstance(value, Mapping):
        flat = ATOMS.issuperset(map(type, value.values()))
        return dict(value) if flat else {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list | tuple) else value
