"""Events: mailboxes, and the bus between publishers and subscribers."""

from __future__ import annotations

from .bus import Bus
from .mailbox import Mailbox
from .subscription import Subscription

__all__ = ["Bus", "Mailbox", "Subscription"]
