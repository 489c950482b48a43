"""Events: topics, mailboxes, the bus between them, how fast a source may publish, and who may watch."""

from __future__ import annotations

from .bus import Bus
from .flow import Flow, FlowLimit
from .mailbox import Mailbox, MailboxOptions, read_options
from .subscription import Subscription
from .tap import Tap
from .topics import Topics

__all__ = ["Bus", "Flow", "FlowLimit", "Mailbox", "MailboxOptions", "Subscription", "Tap", "Topics", "read_options"]
