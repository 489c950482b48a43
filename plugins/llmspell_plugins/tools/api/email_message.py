"""Writes an e-mail: its addresses, headers, body and attachments, as the bytes that a server is given.

Invariant: nothing that a caller gives ends a header line (the standard library refuses it), who gets a blind copy
stands in no header, and all of it is ASCII, so that each server can take it (RFC 5322, RFC 2045). Sizes in bytes.
"""

from __future__ import annotations

import email.policy
import mimetypes
import re
from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from typing import Final

from msgspec import Struct

from llmspell_hookspecs import InvalidInputError

__all__ = ["TOOL", "Attachment", "Draft", "addresses", "file_name", "media_type", "message_id", "sendable", "written"]

TOOL = "email-sender"
_POLICY: Final = email.policy.SMTP.clone(cte_type="7bit")
_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9-]{1,63})*")
_NAME: Final = re.compile(r'\s*"?(?P<name>[^"<>\r\n]*?)"?\s*<(?P<address>[^<>\s]+)>\s*')
_KIND: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,100}/[a-z0-9][a-z0-9.+-]{0,100}")


class Attachment(Struct, frozen=True):
    """A file that goes along.

    Attributes:
        name: What the reader sees.
        content: Its bytes.
        kind: Its media type; found out by the name if empty.
    """

    name: str
    content: bytes
    kind: str = ""


class Draft(Struct, frozen=True):
    """An e-mail as the caller wants it.

    Attributes:
        sender: Whom it is from.
        to: Who gets it.
        cc: Who gets a copy.
        bcc: Who gets a copy that the others do not know of.
        reply_to: Where answers go.
        subject: What it is about.
        body: The text.
        html: Whether the text is HTML.
        attachments: What goes along.
    """

    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    subject: str
    body: str
    html: bool
    attachments: tuple[Attachment, ...]

    @property
    def recipients(self) -> tuple[str, ...]:
        """Every address that gets it, once."""
        return tuple(dict.fromkeys(each.addr_spec for each in (*self.to, *self.cc, *self.bcc)))


def addresses(field: str, given: str | Sequence[str]) -> tuple[Address, ...]:
    """Return the addresses in a text, separated by commas, or in a list of texts.

    Raises:
        InvalidInputError: One of them is none.
    """
    texts = re.findall(r'(?:"[^"]*"|[^,"])+', given) if isinstance(given, str) else given
    return tuple(_address(field, text.strip()) for text in texts if text.strip())


def _address(field: str, text: str) -> Address:
    named = _NAME.fullmatch(text)
    name, bare = (named["name"], named["address"]) if named else ("", text)
    local, _, domain = bare.rpartition("@")
    try:
        domain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        domain = ""
    if not (_LOCAL.fullmatch(local) and len(local) <= 64 and _DOMAIN.fullmatch(domain)):
        message = f"{TOOL}: {field}: {text[:80]!r} is no address; write one such as ada@example.com"
        raise InvalidInputError(message, field=field)
    return Address(name, local, domain)


def message_id(draft: Draft, key: str) -> str:
    """Return what stands for an e-mail: the same for each attempt to send it."""
    return f"<{key}@{draft.sender.domain}>"


def written(draft: Draft, key: str) -> bytes:
    """Return the e-mail as a server is given it.

    Args:
        draft: What is to be written.
        key: What its Message-ID is made of: the same for each attempt to send it.

    Raises:
        InvalidInputError: A header or a media type cannot be sent.
    """
    message = EmailMessage(_POLICY)
    headers = {
        "From": draft.sender,
        "To": draft.to,
        "Cc": draft.cc,
        "Reply-To": draft.reply_to,
        "Subject": draft.subject,
        "Date": formatdate(),
        "Message-ID": message_id(draft, key),
    }
    for name, value in headers.items():
        try:
            if value:
                message[name] = value
        except ValueError:
            field = name.lower().replace("-", "_")
            what = f"{TOOL}: {field}: it holds a line break; write it in one line"
            raise InvalidInputError(what, field=field) from None
    message.set_content(sendable(draft.body), subtype="html" if draft.html else "plain", charset="utf-8")
    for each in draft.attachments:
        _attach(message, each)
    return message.as_bytes()


def media_type(attachment: Attachment) -> str:
    """Return the media type of what goes along.

    Raises:
        InvalidInputError: What was given is none.
    """
    kind = (attachment.kind or mimetypes.guess_type(attachment.name)[0] or "application/octet-stream").lower()
    if not _KIND.fullmatch(kind) or kind.startswith(("multipart/", "message/")):
        what = f"{TOOL}: attachments: {kind[:80]!r} is no media type of a file; write one such as text/csv"
        raise InvalidInputError(what, field="attachments")
    return kind


def file_name(attachment: Attachment) -> str:
    """Return the name that the reader sees: no folder, and nothing that ends a header."""
    return re.sub(r"[\x00-\x1f\x7f/\\]", "_", sendable(attachment.name)) or "file"


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    main, _, sub = media_type(attachment).partition("/")
    message.add_attachment(attachment.content, maintype=main, subtype=sub, filename=file_name(attachment))


def sendable(text: str) -> str:
    """Return the text without halves of letters, which no encoding carries."""
    return text.encode("utf-8", "replace").decode("utf-8")
