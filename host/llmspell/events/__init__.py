"""Events: topics, mailboxes, the bus between them, and how fast a source may publish."""

from __future__ import annotations

from .bus import Bus
from .flow import Flow, FlowLimit
from .mailbox import Mailbox, MailboxOptions, read_options
from .subscription import Subscription
from .topics import Topics

__all__ = ["Bus", "Flow", "FlowLimit", "Mailbox", "MailboxOptions", "Subscription", "Topics", "read_options"]
