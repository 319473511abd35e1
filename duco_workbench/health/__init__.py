"""How the data flow is: marks of every hop, loss by sequence, and what troubles it. Knows addresses, no processes."""

from __future__ import annotations

from .report import read
from .words import GOOD_STATES, counts, figures_in_words, health_of, in_words, sentences, state_of

__all__ = ["GOOD_STATES", "counts", "figures_in_words", "health_of", "in_words", "read", "sentences", "state_of"]
