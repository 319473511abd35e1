"""What machines send now, for apps, notebooks and the API: one reader a process, subscriptions, the past."""

from .entries import Entry
from .reader import LiveReader, Machine, Subscription, shared_reader
from .seam import Past, Stored, before, merge, past

__all__ = [
    "Entry",
    "LiveReader",
    "Machine",
    "Past",
    "Stored",
    "Subscription",
    "before",
    "merge",
    "past",
    "shared_reader",
]
