"""What the kernels work on.

One call (:mod:`.batches`) decodes a batch in four steps:

1. :mod:`.classify` finds each frame's *piece* through a learned hash table (:mod:`.learned`): a piece is one codec of
   one stream (bus, message, sender) at one data length. Nearly every frame has one, found by one look; those that call
   for several codecs (multiplexed) or fewer signals (cut short), or for none, are left to a slower walk.
2. :mod:`.reassembly` puts transport sessions together; their messages are classified like frames.
3. :func:`.layout.layout` gives every series of those pieces its place in the output.
4. :func:`.values.fill` brings the frames of a piece together and decodes them column by column into that place.

A kernel trusts shapes and plan: a wrong one is a crash, not an exception.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..jit import inlined
from .checks import Frames as Frames

# The hash table: a slot is two words, key and value, so that nearly every frame reads one line of the nearest cache.
# An id's value is its piece << 16 | the least length with which it has just that one; FEW means it never has.
LEARNED = np.dtype([("message", "i4"), ("stream", "i4"), ("kind", "i4")], align=True)
STREAM = np.dtype([("bus", "i4"), ("group", "i4"), ("source", "i4"), ("cell", "i4")], align=True)
PIECE = np.dtype([("stream", "i4"), ("codec", "i4"), ("signals", "i4")], align=True)
EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
NONE = -1
FEW = np.uint64(0xFFFF)
DATA, REMOTE_OR_ERROR, TRANSPORT_FRAME = range(3)  # kinds of id


class Long(NamedTuple):
    """Messages of transport sessions, c rows; in the steps below they are frames n, n + 1, ..."""

    row: NDArray[np.int32]  # the frame that completed it: its time and bus
    ids: NDArray[np.uint32]  # as if it were one frame
    destination: NDArray[np.int32]
    lengths: NDArray[np.uint16]
    at: NDArray[np.int64]  # its first word
    words: NDArray[np.uint64]


class State(NamedTuple):
    """What a decoder has learned of its buses. ``rows`` is 0 and ``streams.cell`` -1 between calls."""

    slots: NDArray[np.uint64]  # hash table: ids, streams and pieces, told apart by the top bits of their keys
    learned: NDArray[Any]  # of the id in the slot of that number
    streams: NDArray[Any]
    pieces: NDArray[Any]  # one of no stream counts the frames of an id that nobody knows
    rows: NDArray[np.int32]  # frames of each piece in this call
    place: NDArray[np.int64]  # and where its next one goes
    used: NDArray[np.int64]  # slots, streams, pieces


class Work(NamedTuple):
    """Buffers that are reused from call to call, and the counts of one call."""

    piece: NDArray[np.int32]  # of each frame that has just one
    slow: NDArray[np.int32]  # the frames left to the walk, and their slots
    slow_slot: NDArray[np.int32]
    frames: NDArray[np.int32]  # (frame, piece) pairs the walk found; before it, frames of unknown ids
    pairs: NDArray[np.int32]
    order: NDArray[np.int32]  # frames, grouped by piece
    first: NDArray[np.uint64]  # the first word of each of them
    touched: NDArray[np.int32]  # pieces of this call, in order of appearance
    transport: NDArray[np.int32]  # frames of transport sessions
    texts: NDArray[np.int32]  # (n, 2): a frame whose message has texts, and that message
    active: NDArray[np.int32]  # codecs one frame calls for
    counts: NDArray[np.int64]


PAIRS, TOUCHED, TEXTS, SESSION_FRAMES, DECODED, UNKNOWN, UNKNOWN_IDS, TRANSPORT, SKIPPED = range(9)
COUNTS = 9
DONE, FULL, BAD_LENGTH, BAD_BUS = range(4)
ROWS, OFFSET, SERIES, PARTS, KEY, TIMES = range(6)  # columns of a cell
SLOTS_USED, STREAMS_USED, PIECES_USED = range(3)


@inlined
def swapped(x: Any) -> Any:
    x = ((x & np.uint64(0x00FF00FF00FF00FF)) << np.uint64(8)) | ((x >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF))
    x = ((x & np.uint64(0x0000FFFF0000FFFF)) << np.uint64(16)) | ((x >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF))
    return (x << np.uint64(32)) | (x >> np.uint64(32))
