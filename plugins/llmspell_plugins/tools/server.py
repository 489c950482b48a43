"""The servers that trusted settings name, for tools that talk no HTTP: their addresses, TLS, and work that is cut off.

Invariant: a script names none of them; one that ``security.hosts.denied`` names is not reached, nor is a cloud's
metadata service. Durations in seconds.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio
from msgspec import Struct, structs
from pydantic import SecretStr

from llmspell_hookspecs import ToolContext, ToolError
from llmspell_hookspecs.network import Hosts

__all__ = ["Line", "Server", "dial", "located", "run_interruptible", "secret_of", "trusting"]


class Server(Struct, frozen=True):
    """Where to connect.

    Attributes:
        host: Its name, which its certificate must have.
        port: Its port.
        addresses: Those of the name, judged.
    """

    host: str
    port: int
    addresses: tuple[str, ...]


class Line:
    """One connection to a server: `dial` in the thread that talks, and `cut` in another one if it is cancelled."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket: socket.socket | None = None
        self._is_cut = False

    def dial(self, timeout_s: float) -> socket.socket:
        """Return a socket to the server; raises as the function `dial` does."""
        found = dial(self._server, timeout_s)
        self._socket = found.dup()  # what TLS wraps is no longer ours
        if self._is_cut:
            self._socket.shutdown(socket.SHUT_RDWR)
        return found

    def cut(self) -> None:
        """Shut the connection down, or the one that is about to be made."""
        self._is_cut = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it, when the thread has ended."""
        if self._socket is not None:
            self._socket.close()


def dial(server: Server, timeout_s: float) -> socket.socket:
    """Return a socket to the first address of a server that answers; for a thread.

    Raises:
        OSError: None does.
    """
    failure = OSError("it has no address")
    for address in server.addresses:
        try:
            found = socket.create_connection((address, server.port), timeout_s)
        except OSError as error:
            failure = error
            continue
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found
    raise failure


async def located(tool: str, context: ToolContext, host: str, port: int) -> Server:
    """Return a server that stands in trusted settings.

    Raises:
        ToolError: ``connection``: it has no address.
        SecurityError: The host or one of its addresses is denied.
    """
    hosts = context.services.get(Hosts)
    shown = f"[{host}]" if ":" in host else host
    target = hosts.locate(f"tcp://{shown}:1", trusted=True, schemes=("tcp",))  # no rule on ports: this one is trusted
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except OSError as error:
        message = f"{tool}: {shown}: it has no address ({error.strerror}); check the host in settings"
        raise ToolError(message, code="connection") from error
    addresses = tuple(dict.fromkeys(str(address[0]) for *_, address in found))
    judged = hosts.judge(structs.replace(target, port=port, shown=f"{shown}:{port}"), addresses, trusted=True)
    return Server(host, port, judged)


def trusting(tool: str, ca_file: str) -> ssl.SSLContext:
    """Return what checks certificates: against those of a file, or the system's if there is none; for a thread.

    Raises:
        ToolError: ``not_configured``: the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        message = f"{tool}: ca_file: {error.strerror or 'it holds no certificate'}; correct it in settings"
        raise ToolError(message, code="not_configured") from error


def secret_of(tool: str, password: SecretStr | None, variable: str) -> str:
    """Return a password from settings, or from the environment; empty if neither has one.

    Raises:
        ToolError: ``not_configured``: the variable that should have it is not set.
    """
    if password is not None or not variable:
        return "" if password is None else password.get_secret_value()
    if variable not in os.environ:
        message = f"{tool}: the variable {variable} is not set; set it to the password"
        raise ToolError(message, code="not_configured")
    return os.environ[variable]


async def run_interruptible(
    context: ToolContext, interrupt: Callable[[], object], function: Callable[..., Any], /, *arguments: Any
) -> Any:
    """Run a sync function in a thread; a cancellation calls ``interrupt`` in another one, which is to end it.

    Args:
        context: The call's.
        interrupt: Makes the function end soon; raises nothing, and may come before it has begun.
        function: What the thread runs.
        arguments: For the function.
    """
    ended = trio.Event()
    value: Any = None
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_when_cancelled, interrupt, ended)
        try:
            value = await context.run_thread(function, *arguments)
        except Exception as error:
            failure = error
        ended.set()
    await trio.lowlevel.checkpoint_if_cancelled()  # what the interruption broke is no error of the server's
    if failure is not None:
        raise failure
    return value


async def _when_cancelled(interrupt: Callable[[], object], ended: trio.Event) -> None:
    try:
        await ended.wait()
    finally:
        if not ended.is_set():
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(interrupt)
