"""The decoder box of the drawing, pure: frames and a database in; samples, texts and trouble codes out.

::

    load, load_text -> Database -> Decoder(database).decode(frames) -> Samples
                                                    .decode_all(frames), .stream(log) -> texts, dtcs, counts besides
    read_log, open_log -> FrameBatch       dtcs(frames) -> trouble codes       thin(samples) -> fewer samples
                                           labels(samples, database) -> names of values

Names resolve on first use, so that whoever only loads a database pays for neither numba nor a log reader.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..j1939.dm1 import dtcs
    from .database import Database, Message, Signal, load, load_text
    from .decoder import Decoded, Decoder, warm_up
    from .labels import labels
    from .logs import open_log, read_log
    from .thinning import thin

_HOME = {
    "Database": ".database",
    "Message": ".database",
    "Signal": ".database",
    "load": ".database",
    "load_text": ".database",
    "Decoded": ".decoder",
    "Decoder": ".decoder",
    "warm_up": ".decoder",
    "labels": ".labels",
    "open_log": ".logs",
    "read_log": ".logs",
    "dtcs": "..j1939.dm1",
    "thin": ".thinning",
}

__all__ = [
    "Database",
    "Decoded",
    "Decoder",
    "Message",
    "Signal",
    "dtcs",
    "labels",
    "load",
    "load_text",
    "open_log",
    "read_log",
    "thin",
    "warm_up",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value
