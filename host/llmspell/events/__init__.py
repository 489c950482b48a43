"""Events: mailboxes, and the bus between publishers and subscribers."""

from __future__ import annotations

from .bus import Bus
from .mailbox import Mailbox, MailboxOptions, read_options
from .subscription import Subscription

__all__ = ["Bus", "Mailbox", "MailboxOptions", "Subscription", "read_options"]
