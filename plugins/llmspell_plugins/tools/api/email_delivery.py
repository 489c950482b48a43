"""Hands an e-mail to a server by SMTP (RFC 5321), in a thread whose socket is shut down if it is cancelled.

Invariant: a password is sent over TLS only, to a server whose certificate has its name. Durations in seconds.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from msgspec import Struct

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.errors import line_of_error
from llmspell_plugins.tools.server import Line, Server

from .email_message import TOOL

__all__ = ["Account", "Delivery"]

_MOST_SHOWN: Final = 200


class Account(Struct, frozen=True):
    """How to talk to a server.

    Attributes:
        security: TLS after a plain greeting, TLS from the start, or none.
        tls: What checks the certificate; None without TLS.
        user: Who logs in; empty for nobody.
        password: With which password.
        helo: What we call ourselves.
    """

    security: Literal["starttls", "tls", "none"]
    tls: ssl.SSLContext | None
    user: str
    password: str
    helo: str


class Delivery:
    """One e-mail on its way: `deliver` in a thread, and `interrupt` in another if it is cancelled."""

    def __init__(self, server: Server, account: Account, timeout_s: float) -> None:
        self._server = server
        self._account = account
        self._timeout_s = timeout_s
        self._line = Line(server)

    def deliver(self, sender: str, recipients: Sequence[str], content: bytes) -> dict[str, dict[str, Any]]:
        """Send it, and return who was refused, and why.

        Raises:
            ToolError: ``connection``, ``tls``, ``auth`` or ``refused``: nobody gets it.
        """
        talk = _Talk(self._line.dial, self._account, self._timeout_s)
        try:
            talk.connect(self._server.host, self._server.port)
            self._open(talk)
            refused = talk.sendmail(sender, list(recipients), content)
            with suppress(smtplib.SMTPException, OSError):  # it has been taken: what comes now counts no more
                talk.quit()
            return {address: _reply(*reply) for address, reply in refused.items()}
        except (smtplib.SMTPException, OSError) as error:
            raise self._told(error) from error
        finally:
            talk.close()
            self._line.close()

    def interrupt(self) -> None:
        """Shut the connection down."""
        self._line.cut()

    def _open(self, talk: smtplib.SMTP) -> None:
        """Secure the connection and log in."""
        if self._account.security == "starttls":
            talk.starttls(context=self._account.tls)
        if self._account.user:
            talk.login(self._account.user, self._account.password)

    def _told(self, error: Exception) -> ToolError:
        place = f"{self._server.host}:{self._server.port}"
        match error:
            case smtplib.SMTPRecipientsRefused():
                refused = {address: _reply(*reply) for address, reply in error.recipients.items()}
                first = next(iter(refused.values()))
                message = f"{TOOL}: {place}: it takes none of the recipients ({first['code']} {first['message']})"
                details = {"refused": refused}
                return ToolError(f"{message}; check the addresses", code="refused", details=details)
            case smtplib.SMTPAuthenticationError():
                message = f"{TOOL}: {place}: it refuses the login ({error.smtp_code}); check user and password"
                return ToolError(message, code="auth")
            case smtplib.SMTPNotSupportedError():
                what = "it offers no TLS" if self._account.security == "starttls" else "it lacks what is needed"
                message = f"{TOOL}: {place}: {what} ({line_of_error(error)}); set another server or security"
                return ToolError(message, code="tls")
            case ssl.SSLError():
                message = (
                    f"{TOOL}: {place}: no TLS: {line_of_error(error)}; check its certificate, ca_file and security"
                )
                return ToolError(message, code="tls")
            case smtplib.SMTPConnectError() | smtplib.SMTPServerDisconnected():
                message = f"{TOOL}: {place}: the connection broke off: {line_of_error(error)}; check host and port"
                return ToolError(message, code="connection")
            case smtplib.SMTPResponseException():
                reply = _reply(error.smtp_code, error.smtp_error)
                what = f"it refuses the message ({reply['code']} {reply['message']})"
                return ToolError(f"{TOOL}: {place}: {what}; change it", code="refused", details=reply)
            case _:
                message = f"{TOOL}: {place}: no connection: {line_of_error(error)}; check host and port"
                return ToolError(message, code="connection")


class _Talk(smtplib.SMTP):
    """The library's client, over a socket that leads to a judged address, with TLS at once if that is asked for."""

    def __init__(self, dial: Any, account: Account, timeout_s: float) -> None:
        super().__init__(local_hostname=account.helo, timeout=timeout_s)
        self._dial = dial
        self._account = account

    def connect(self, host: str = "localhost", port: int = 0, source_address: Any = None) -> tuple[int, bytes]:
        """Connect under the server's name, which its certificate must have."""
        self._host = host
        code, reply = super().connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, reply)
        return code, reply

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # The one place where the library connects; it looks names up itself, and offers no other way.
        dialled: socket.socket = self._dial(timeout)
        if self._account.security == "tls" and self._account.tls is not None:
            return self._account.tls.wrap_socket(dialled, server_hostname=host)
        return dialled


def _reply(code: int, text: bytes | str) -> dict[str, Any]:
    """A server's reply as plain values."""
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return {"code": code, "message": " ".join(shown.split())[:_MOST_SHOWN]}
