"""Transport sessions put together by a kernel: what :mod:`..j1939.transport` describes and does in Python, as columns.

Sessions that are open at the end of a batch stay in :class:`Sessions`; whether they live on is its owner's affair.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..j1939.transport import LONGEST, MOST_OPEN, OUTCOMES, TIMEOUT
from ..jit import inlined, kernel
from .kernels import Frames, Long
from .learned import bus_of

_ROOM = -(-LONGEST // 8) + 1  # words of a message, and what its last packet may spill
_CHAINS = 1024
_SESSION = np.dtype(
    [
        ("key", "i8"),
        ("ts", "i8"),  # of its latest frame
        ("pgn", "i4"),
        ("size", "i4"),
        ("packet", "i4"),  # expected next
        ("next", "i4"),  # session of its chain, or of the free ones
    ],
    align=True,
)
DONE, ABORTED, SUPERSEDED, TIMED_OUT, ORPHAN, OUT_OF_SEQUENCE, MALFORMED, UNFINISHED = range(len(OUTCOMES))
_GOES_ON = -1
_FREE, _USED, _OPEN = range(3)  # places in ``marks``


class Sessions(NamedTuple):
    """The open sessions of (bus, sender, destination)."""

    chains: NDArray[np.int32]  # first session of each hash, or -1
    sessions: NDArray[Any]
    packets: NDArray[np.uint64]  # (sessions, 256) seven bytes each
    marks: NDArray[np.int64]  # first free session, how many were ever used, how many are open

    @classmethod
    def none(cls) -> Sessions:
        sessions, packets = np.zeros(MOST_OPEN, _SESSION), np.zeros((MOST_OPEN, 256), np.uint64)
        return cls(np.full(_CHAINS, -1, np.int32), sessions, packets, np.array([-1, 0, 0], np.int64))


@inlined
def _chain(key: Any) -> Any:
    return (key ^ (key >> 7) ^ (key >> 16)) & (_CHAINS - 1)


@inlined
def _of(chains: Any, sessions: Any, key: Any) -> Any:
    """The open session of a key, or -1."""
    at = chains[_chain(key)]
    while at >= 0 and sessions[at].key != key:
        at = sessions[at].next
    return at


@kernel
def _close(s: Sessions, at: int) -> None:
    chain, following = _chain(s.sessions[at].key), s.sessions[at].next
    before = s.chains[chain]
    if before == at:
        s.chains[chain] = following
    else:
        while s.sessions[before].next != at:
            before = s.sessions[before].next
        s.sessions[before].next = following
    s.sessions[at].next = s.marks[_FREE]
    s.marks[_FREE] = at
    s.marks[_OPEN] -= 1


@kernel
def _sweep(s: Sessions, ts: int) -> int:
    """Closes what has been silent for too long; how many there were."""
    closed = 0
    for chain in range(_CHAINS):
        at = s.chains[chain]
        while at >= 0:
            following = s.sessions[at].next
            if ts - s.sessions[at].ts > TIMEOUT:
                _close(s, at)
                closed += 1
            at = following
    return closed


@kernel
def _open(s: Sessions, key: int, ts: int, pgn: int, size: int) -> None:
    at = s.marks[_FREE]
    if at >= 0:
        s.marks[_FREE] = s.sessions[at].next
    else:
        at = s.marks[_USED]
        s.marks[_USED] += 1
    session = s.sessions[at]
    session.key, session.ts, session.pgn, session.size, session.packet = key, ts, pgn, size, 1
    chain = _chain(key)
    session.next = s.chains[chain]
    s.chains[chain] = at
    s.marks[_OPEN] += 1


@kernel
def _start(s: Sessions, key: int, ts: int, pgn: int, size: int, packets: int, is_bam: bool, counts: Any) -> None:
    at = _of(s.chains, s.sessions, key)
    if at >= 0:
        counts[TIMED_OUT if ts - s.sessions[at].ts > TIMEOUT else SUPERSEDED] += 1
        _close(s, at)
    is_broadcast = key & 0xFF == 0xFF
    if size < 9 or size > LONGEST or packets != (size + 6) // 7 or is_broadcast != is_bam:
        counts[MALFORMED] += 1
        return
    if s.marks[_OPEN] == MOST_OPEN:
        counts[TIMED_OUT] += _sweep(s, ts)
    if s.marks[_OPEN] == MOST_OPEN:
        counts[UNFINISHED] += 1
    else:
        _open(s, key, ts, pgn, size)


@kernel
def _control(s: Sessions, ts: int, mine: Any, theirs: Any, word: Any, counts: Any) -> None:
    """A TP.CM frame of eight bytes; ``mine`` and ``theirs`` are the sessions of both directions."""
    kind, pgn = int(word & np.uint64(0xFF)), int(word >> np.uint64(40))
    if kind == 32 or kind == 16:
        size, packets = int(word >> np.uint64(8)) & 0xFFFF, int(word >> np.uint64(24)) & 0xFF
        _start(s, mine, ts, pgn & 0x3FFFF, size, packets, kind == 32, counts)
    elif kind == 17:
        at = _of(s.chains, s.sessions, theirs)
        if at >= 0:
            session = s.sessions[at]
            session.ts = ts
            packets, packet = int(word >> np.uint64(8)) & 0xFF, int(word >> np.uint64(16)) & 0xFF
            if packets and 1 <= packet < session.packet:
                session.packet = packet
    elif kind == 255:
        for key in (mine, theirs):
            at = _of(s.chains, s.sessions, key)
            if at >= 0 and s.sessions[at].pgn == pgn:
                counts[ABORTED] += 1
                _close(s, at)


@kernel
def _packet(session: Any, ts: int, word: Any, length: int) -> int:
    """What a TP.DT frame makes of its session: ``DONE``, ``_GOES_ON``, or why it ends."""
    if ts - session.ts > TIMEOUT:
        return TIMED_OUT
    if length < 1 or int(word & np.uint64(0xFF)) != session.packet:
        return OUT_OF_SEQUENCE
    if length - 1 < min(7, session.size - 7 * (session.packet - 1)):
        return MALFORMED
    session.ts = ts
    session.packet += 1
    return DONE if 7 * (session.packet - 1) >= session.size else _GOES_ON


@kernel
def _join(packets: Any, size: int, words: Any) -> int:
    """Writes ``size`` bytes, seven a packet, as words without gaps; how many these are."""
    count, bit = (size + 7) // 8, np.uint64(0)
    words[: count + 1] = 0
    for k in range((size + 6) // 7):
        word, shift = bit >> np.uint64(6), bit & np.uint64(63)
        words[word] |= packets[k] << shift
        if shift > np.uint64(8):
            words[word + np.uint64(1)] |= packets[k] >> (np.uint64(64) - shift)
        bit += np.uint64(56)
    if size & 7:
        words[count - 1] &= (np.uint64(1) << np.uint64(8 * (size & 7))) - np.uint64(1)
    return count


@kernel
def _take(s: Sessions, at: int, row: int, source: Any, destination: Any, long: Long, count: int, begin: int) -> int:
    """Writes the message of a complete session as number ``count``; the word behind it."""
    session = s.sessions[at]
    number = int(session.pgn) if (session.pgn >> 8) & 0xFF >= 240 else (session.pgn & 0x3FF00) | destination
    long.row[count], long.lengths[count], long.at[count] = row, session.size, begin
    long.ids[count] = np.uint32(0x8000_0000 | 6 << 26 | number << 8 | source)
    long.destination[count] = destination
    return begin + _join(s.packets[at], session.size, long.words[begin:])


@kernel
def messages_of(most: int) -> Long:
    """Room for so many messages; of their words only those written become memory."""
    return Long(
        np.empty(most, np.int32),
        np.empty(most, np.uint32),
        np.empty(most, np.int32),
        np.empty(most, np.uint16),
        np.empty(most, np.int64),
        np.empty(most * _ROOM, np.uint64),
    )


@kernel
def reassemble(s: Sessions, f: Frames, rows: Any, counts: Any) -> Long:
    """The messages completed by these frames of TP.CM and TP.DT, in order; adds to ``counts``, by ``OUTCOMES``.

    Data packets, which are most, are taken here: to pass the tuples on would count a reference to each of their arrays.
    """
    count, end, long = 0, 0, messages_of(rows.size)
    chains, sessions, packets, ts, ids, lengths, words = (
        s.chains,
        s.sessions,
        s.packets,
        f.ts,
        f.ids,
        f.lengths,
        f.words,
    )
    for j in range(rows.size):
        i = rows[j]
        number = np.int64(ids[i])
        bus, source, destination = np.int64(bus_of(f, i)) << 16, number & 0xFF, (number >> 8) & 0xFF
        mine = bus | source << 8 | destination
        word, length = words[i * f.width], min(int(lengths[i]), 8)
        if (number >> 16) & 0xFF == 0xEC:
            if length < 8:
                counts[MALFORMED] += 1
            else:
                _control(s, ts[i], mine, bus | destination << 8 | source, word, counts)
            continue
        at = _of(chains, sessions, mine)
        if at < 0:
            counts[ORPHAN] += 1
            continue
        packets[at, sessions[at].packet - 1] = word >> np.uint64(8)
        outcome = _packet(sessions[at], ts[i], word, length)
        if outcome == _GOES_ON:
            continue
        counts[outcome] += 1
        if outcome == TIMED_OUT:
            counts[ORPHAN] += 1
        elif outcome == DONE:
            end = _take(s, at, i, source, destination, long, count, end)
            count += 1
        _close(s, at)
    return Long(
        long.row[:count],
        long.ids[:count],
        long.destination[:count],
        long.lengths[:count],
        long.at[:count],
        long.words[:end],
    )


@kernel
def give_up(s: Sessions, counts: Any) -> None:
    """Forgets the open sessions, and counts them."""
    if s.marks[_OPEN]:
        counts[UNFINISHED] += s.marks[_OPEN]
        s.chains[:] = -1
        s.marks[_FREE], s.marks[_USED], s.marks[_OPEN] = -1, 0, 0
