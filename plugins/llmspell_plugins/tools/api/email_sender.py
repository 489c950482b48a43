"""The email-sender tool: writes an e-mail and hands it to a server or service that trusted settings name.

Invariant: settings say by which server, from whom and to whom mail may go; a script chooses among them, and gives no
host and no password. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from email.headerregistry import Address
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

import trio
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import (
    FileAccess,
    InvalidInputError,
    SecurityLevel,
    Tool,
    ToolContext,
    ToolError,
    ToolExample,
    ToolResult,
)
from llmspell_hookspecs.errors import LlmspellError, ResourceLimitError, SecurityError
from llmspell_hookspecs.spelling import spelled_path
from llmspell_hookspecs.tool import ToolLimits
from llmspell_plugins.tools.filesystem.content import read_file
from llmspell_plugins.tools.server import located, run_interruptible, secret_of, trusting

from .email_delivery import Account, Delivery
from .email_message import TOOL, Attachment, Draft, addresses, message_id, written
from .email_servers import EmailSettings, MailServer
from .email_services import Handover, service_of

__all__ = ["EmailParameters", "EmailSender"]


class AttachedFile(BaseModel):
    """A file that goes along: ``path``, or a name with ``text`` or ``base64``."""

    model_config = ConfigDict(extra="forbid")

    path: str | None = Field(default=None, min_length=1, max_length=4096, description="A file that may be read.")
    name: str = Field(default="", max_length=255, description="What the reader sees; the path's last part if empty.")
    text: str | None = Field(default=None, description="What it holds.")
    base64: str | None = Field(default=None, description="What it holds, as Base64.")
    content_type: str = Field(default="", max_length=200, description="Its media type; found out by name if empty.")

    @model_validator(mode="after")
    def _has_one(self) -> AttachedFile:
        if sum(each is not None for each in (self.path, self.text, self.base64)) != 1:
            raise ValueError("give one of path, text and base64")
        if self.path is None and not self.name:
            raise ValueError("give it a name")
        return self


class EmailParameters(BaseModel):
    """What the email-sender takes."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    operation: Literal["send", "validate", "preview"] = Field(
        default="send", description="validate and preview send nothing."
    )
    sender: str | None = Field(
        default=None, alias="from", max_length=400, description="Whom it is from; the server's sender if left out."
    )
    to: str | list[str] = Field(description="Who gets it: addresses, separated by commas or as a list.")
    cc: str | list[str] = Field(default=[], description="Who gets a copy.")
    bcc: str | list[str] = Field(default=[], description="Who gets a copy that the others do not know of.")
    reply_to: str | list[str] = Field(default=[], description="Where answers go.")
    subject: str = Field(max_length=900, description="What it is about, in one line.")
    body: str = Field(description="The text.")
    html: bool = Field(default=False, description="Whether the text is HTML.")
    attachments: list[AttachedFile] = Field(default=[], max_length=50, description="Files that go along.")
    provider: str | None = Field(
        default=None, max_length=200, description="The server's name in settings; not needed if there is only one."
    )


class EmailSender(Tool[EmailParameters]):
    """Send an e-mail by a server or service that settings name, with attachments; or check or show it unsent."""

    name = TOOL
    aliases = ("email_sender", "email-sender-tool")
    category = "api"
    level = SecurityLevel.RESTRICTED
    limits = ToolLimits(time_s=120)
    examples = (
        ToolExample(
            "what would be sent",
            {
                "operation": "preview",
                "from": "Ada <ada@example.com>",
                "to": "bob@example.com, eve@example.com",
                "subject": "Lunch",
                "body": "At noon?",
            },
            {"from": "ada@example.com", "recipients": ["bob@example.com", "eve@example.com"]},
        ),
        ToolExample(
            "whether the addresses are any",
            {"operation": "validate", "from": "ada@example.com", "to": "bob", "subject": "Lunch", "body": "At noon?"},
            {"valid": False},
        ),
        ToolExample(
            "a file sent",
            {
                "to": ["bob@example.com"],
                "subject": "The list",
                "body": "<p>Here it is.</p>",
                "html": True,
                "attachments": [{"name": "list.csv", "text": "a,b\n1,2\n"}],
            },
            {"status": "sent"},
            needs="a server in settings",
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = EmailSettings
    settings: EmailSettings

    async def run(self, parameters: EmailParameters, context: ToolContext) -> ToolResult:
        """Return ``{status, message_id, accepted, refused, ...}``, ``{message, ...}`` or ``{valid, errors}``.

        A service's answer has ``provider_id``, too: what it calls the e-mail.

        Raises:
            InvalidInputError: An address or a header cannot be sent.
            ToolError: ``not_configured``, ``connection``, ``tls``, ``auth``, ``refused``, ``rate_limited``,
                ``http_status``, ``timeout`` or ``not_found``.
            SecurityError: Settings do not let it go from there or to there, or a file may not be read.
            ResourceLimitError: It is too large, or goes to too many.
        """
        match parameters.operation:
            case "validate":
                result = await self._validated(parameters, context)
            case "preview":
                draft, content = await self._written(parameters, context)
                result = {**_told(draft, content, context.key), "message": content.decode("ascii")}
            case "send":
                result = await self._sent(parameters, context)
        return ToolResult(operation=parameters.operation, result=result)

    async def _validated(self, parameters: EmailParameters, context: ToolContext) -> dict[str, Any]:
        try:
            draft, content = await self._written(parameters, context)
        except (InvalidInputError, SecurityError, ResourceLimitError) as error:
            found = {"message": str(error), "field": getattr(error, "field", ""), "code": error.code}
            return {"valid": False, "errors": [found]}
        return {"valid": True, "errors": [], **_told(draft, content, context.key)}

    async def _sent(self, parameters: EmailParameters, context: ToolContext) -> dict[str, Any]:
        name, server = self._server(parameters.provider)
        draft, content = await self._written(parameters, context)
        refused: dict[str, Any] = {}
        own: dict[str, Any] = {}
        if server.kind == "smtp":
            refused = await self._by_smtp(server, draft, content, context)
        else:
            handover = Handover(draft, content, context.key)
            own = {"provider_id": await service_of(server).deliver(handover, self.settings.timeout_s, context)}
        accepted = [address for address in draft.recipients if address not in refused]
        told = _told(draft, content, context.key)
        return {"status": "sent", "provider": name, "accepted": accepted, "refused": refused, **own, **told}

    async def _by_smtp(
        self, server: MailServer, draft: Draft, content: bytes, context: ToolContext
    ) -> dict[str, dict[str, Any]]:
        """Hand it over, and return who was refused, and why."""
        account = Account(
            server.security,
            await context.run_thread(trusting, TOOL, server.ca_file) if server.security != "none" else None,
            server.user,
            secret_of(TOOL, server.password, server.password_env) if server.user else "",
            server.helo,
        )
        timeout_s = self.settings.timeout_s
        place = await located(TOOL, context, server.host, server.usual_port)
        delivery = Delivery(place, account, timeout_s)
        arguments = (draft.sender.addr_spec, draft.recipients, content)
        refused: dict[str, dict[str, Any]] = {}
        with trio.move_on_after(timeout_s) as scope:
            refused = await run_interruptible(context, delivery.interrupt, delivery.deliver, *arguments)
        if scope.cancelled_caught:
            message = f"{TOOL}: {place.host}:{place.port}: it took longer than {timeout_s:g} s; try again"
            raise ToolError(message, code="timeout")
        return refused

    async def _written(self, parameters: EmailParameters, context: ToolContext) -> tuple[Draft, bytes]:
        """The e-mail, and its bytes; it is within the limits, and goes from and to where settings allow."""
        server = None
        if parameters.operation == "send" or parameters.provider or self.settings.servers:
            server = self._server(parameters.provider)[1]
        limit = self.settings.max_bytes
        size = len(parameters.body) + sum(len(each.text or each.base64 or "") for each in parameters.attachments)
        if size > 4 * limit // 3 + limit // 10:
            raise _too_large(size, limit)
        context.charge(4 * size)
        draft = await self._draft(parameters, server, context)
        _check(draft, server, self.settings.max_recipients)
        content: bytes = await context.run_thread(written, draft, context.key)
        if len(content) > limit:
            raise _too_large(len(content), limit)
        return draft, content

    async def _draft(self, parameters: EmailParameters, server: MailServer | None, context: ToolContext) -> Draft:
        given = parameters.sender or (server.sender if server else "")
        sender = addresses("from", given)
        if len(sender) != 1:
            raise InvalidInputError(f"{TOOL}: from: it names {len(sender)} addresses; give one", field="from")
        judge = context.services.get(FileAccess)
        paths = [judge.resolve(each.path, "read") if each.path else "" for each in parameters.attachments]
        return Draft(
            sender[0],
            addresses("to", parameters.to),
            addresses("cc", parameters.cc),
            addresses("bcc", parameters.bcc),
            addresses("reply_to", parameters.reply_to),
            parameters.subject,
            parameters.body,
            parameters.html,
            await context.run_thread(self._attached, parameters.attachments, paths, context),
        )

    def _attached(
        self, files: Sequence[AttachedFile], paths: Sequence[str], context: ToolContext
    ) -> tuple[Attachment, ...]:
        return tuple(
            Attachment(
                each.name or path.rpartition("/")[2],
                _content(each, path, self.settings.max_bytes, context),
                each.content_type,
            )
            for each, path in zip(files, paths, strict=True)
        )

    def _server(self, name: str | None) -> tuple[str, MailServer]:
        known = self.settings.servers
        if name is None and len(known) == 1:
            return next(iter(known.items()))
        if name in known:
            return name, known[name]
        if not known:
            message = f"{TOOL}: provider: none is set; a person may set one in [tools.{TOOL}.servers.NAME]"
            raise ToolError(message, code="not_configured")
        what = "several are set, and none was named" if name is None else f"there is no {name!r}"
        names = ", ".join(sorted(known))
        message = f"{TOOL}: provider: {what} ({names}); name one of [tools.{TOOL}.servers]"
        raise ToolError(message, code="not_configured")


def _content(file: AttachedFile, path: str, most_bytes: int, context: ToolContext) -> bytes:
    """What a file holds that is to go along; for a thread."""
    if file.text is not None:
        return file.text.encode("utf-8", "replace")
    if file.base64 is not None:
        try:
            return base64.b64decode(file.base64, validate=True)
        except (binascii.Error, ValueError):
            message = f"{TOOL}: attachments: {file.name[:80]!r} holds no Base64; correct it, or give text"
            raise InvalidInputError(message, field="attachments") from None
    try:
        return read_file(path, most_bytes, lambda size_bytes: context.charge(4 * size_bytes))
    except OSError as error:
        message = f"{TOOL}: attachments: {spelled_path(path)}: {error.strerror}; give a file that can be read"
        raise ToolError(message, code="not_found") from error


def _check(draft: Draft, server: MailServer | None, most: int) -> None:
    """Refuse what goes to nobody or too many, or from or to where settings do not allow."""
    if not draft.recipients:
        raise InvalidInputError(f"{TOOL}: to: it names nobody; give an address", field="to")
    if len(draft.recipients) > most:
        message = f"{TOOL}: to: it goes to {len(draft.recipients)}, and {most} may get one; send it to fewer"
        raise ResourceLimitError(message, resource="recipients", limit=most)
    if server is None:
        return
    own = [each.addr_spec for each in addresses("sender", server.sender)]
    if not _named(draft.sender, [*own, *server.senders]):
        message = f"{TOOL}: from: {draft.sender.addr_spec} may not be the sender; a person may add it to senders"
        raise SecurityError(message, rule="email")
    for each in (*draft.to, *draft.cc, *draft.bcc):
        if not _named(each, server.recipients):
            message = f"{TOOL}: to: {each.addr_spec} may not get mail; a person may add it to recipients"
            raise SecurityError(message, rule="email")


def _named(address: Address, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(address.addr_spec.lower(), pattern.lower()) for pattern in patterns)


def _told(draft: Draft, content: bytes, key: str) -> dict[str, Any]:
    return {
        "message_id": message_id(draft, key),
        "from": draft.sender.addr_spec,
        "recipients": list(draft.recipients),
        "size_bytes": len(content),
    }


def _too_large(size_bytes: int, limit: int) -> LlmspellError:
    message = f"{TOOL}: it has {size_bytes} bytes, and {limit} may be sent (max_bytes); send less"
    return ResourceLimitError(message, resource="output_bytes", limit=limit)
