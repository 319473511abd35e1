"""How the data flow is: marks of every hop, loss by sequence, and what troubles it. Knows addresses, no processes."""

from __future__ import annotations

from .report import read
from .words import counts, in_words, sentences, state_of

__all__ = ["counts", "in_words", "read", "sentences", "state_of"]
