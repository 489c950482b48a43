"""The topic stateful: what a plugin of hooks has counted and learned, so that it outlives the plugin.

Whoever takes a plugin out and brings it, or another version of it, in again asks the old one once its hooks are called
no more and before it is left, and gives what it answered to the new one before that is entered. Then nobody gets a
fresh budget or a full bucket by having a hook disabled and enabled.

Invariant: a state is plain (what JSON has: texts, numbers, lists, mappings), holds no secret, and is bounded as what it
is of is. Times in it are ages or seconds since the epoch, so that it may be kept and given to another process.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from .errors import InvalidInputError, text_of_error

__all__ = ["Stateful", "plain_state", "state_of"]

T = TypeVar("T")


@runtime_checkable
class Stateful(Protocol):
    """A plugin whose counts outlive it."""

    async def dump_state(self) -> Any:
        """Return what it has counted and learned, as plain values."""

    async def load_state(self, state: Any, /) -> None:
        """Take over what another one of it has returned; settings may have changed since, and what fits counts.

        Raises:
            InvalidInputError: It is none of its states; nothing was taken over.
        """


def plain_state(state: msgspec.Struct) -> Any:
    """Return a struct as the plain values that `state_of` reads."""
    return msgspec.to_builtins(state)


def state_of(state: Any, form: type[T], plugin: str) -> T:
    """Return plain values as the struct that they were.

    Args:
        state: What `Stateful.dump_state` returned.
        form: The struct's class.
        plugin: For the message.

    Raises:
        InvalidInputError: They are no such struct.
    """
    try:
        return msgspec.convert(state, form)
    except msgspec.ValidationError as error:
        raise InvalidInputError(
            f"plugin {plugin}: this is none of its states: {text_of_error(error)}; give what its dump_state returned"
        ) from error
