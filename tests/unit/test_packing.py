"""Envelopes from frames: nothing lost, nothing doubled, sessions whole, below the hub's size, same for any portions."""

from __future__ import annotations

import dataclasses
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duco_workbench import wire
from duco_workbench.errors import ConfigError
from duco_workbench.model import EXTENDED, SECOND, Clock, Envelope, Flag, FrameBatch
from duco_workbench.packing import MAX_SESSION_FRAMES, SESSION_TIMEOUT, Packer, _fitting

T0 = 1_700_000_000 * SECOND
CM, DT = 0x1CEC0000 | EXTENDED, 0x1CEB0000 | EXTENDED
ALL = 0xFF
PGN = bytes.fromhex("CAFE00")

Row = tuple[int, str, int, bytes]  # milliseconds after T0, bus, id, data


def batch(rows: list[Row]) -> FrameBatch:
    names = tuple(dict.fromkeys(bus for _, bus, _, _ in rows)) or ("can0",)
    wide = any(len(data) > 8 for *_, data in rows)
    data = np.zeros((len(rows), 64 if wide else 8), np.uint8)
    for at, (*_, content) in enumerate(rows):
        data[at, : len(content)] = list(content)
    return FrameBatch(
        np.array([T0 + ms * 1000 for ms, *_ in rows], np.int64),
        np.array([identifier for _, _, identifier, _ in rows], np.uint32),
        np.array([len(content) for *_, content in rows], np.uint8),
        np.array([Flag.FD if len(content) > 8 else 0 for *_, content in rows], np.uint8),
        data,
        np.array([names.index(bus) for _, bus, _, _ in rows], np.uint8),
        names,
    )


def rows_of(frames: FrameBatch) -> list[Row]:
    columns = zip(frames.ts, frames.channel, frames.arbitration_id, frames.dlc, frames.data, strict=True)
    return [(int(ts - T0) // 1000, frames.channels[c], int(i), bytes(data[:n])) for ts, c, i, n, data in columns]


def pack(rows: list[Row], portion: int | None = None, **options: int) -> list[Envelope]:
    """In portions whose bus numbers and widths differ, as those of a file's chunks do."""
    packer = Packer("TRUCK-1", 7, **options)
    step = portion or max(len(rows), 1)
    envelopes = [e for at in range(0, len(rows), step) for e in packer.add(batch(rows[at : at + step]))]
    return envelopes + packer.flush()


def unpacked(envelopes: list[Envelope]) -> list[list[Row]]:
    """What a reader finds in each, through the wire."""
    return [rows_of(wire.unpack_blocks(wire.decode(wire.encode(e)).payload.blocks)) for e in envelopes]


def cm(control: int, sender: int, receiver: int, packets: int = 0) -> tuple[int, bytes]:
    return CM | receiver << 8 | sender, bytes([control, 20, 0, packets, 0xFF]) + PGN


def dt(sequence: int, sender: int, receiver: int) -> tuple[int, bytes]:
    return DT | receiver << 8 | sender, bytes([sequence]) + bytes(7)


def plain(ms: int, bus: str = "can0") -> Row:
    return ms, bus, 0x18FEF100 | EXTENDED, ms.to_bytes(8, "little")


def test_an_envelope_is_a_window_of_absolute_time() -> None:
    envelopes = pack([plain(0), plain(999), plain(1000), plain(1001), plain(5500)])
    assert [[ms for ms, *_ in rows] for rows in unpacked(envelopes)] == [[0, 999], [1000, 1001], [5500]]
    assert [e.ts - T0 for e in envelopes] == [999_000, 1_001_000, 5_500_000]
    assert [e.message_id for e in envelopes] == ["TRUCK-1:7:1", "TRUCK-1:7:2", "TRUCK-1:7:3"]
    assert {(e.msg_type, e.chassis_id, e.realtime) for e in envelopes} == {("vehicle_can", "TRUCK-1", False)}


def test_what_the_machine_says_of_itself_is_in_every_envelope() -> None:
    packer = Packer("X", 1, first_seq=41, realtime=True, clock=Clock("gnss", 1.5))
    packer.add(batch([plain(0), plain(2000)]))
    (envelope,) = packer.flush()
    assert (envelope.message_id, envelope.realtime, envelope.clock) == ("X:1:42", True, Clock("gnss", 1.5))
    assert packer.next_seq == 43


def test_buses_are_blocks_and_frames_are_in_order_of_time() -> None:
    rows = [plain(5, "can1"), plain(9, "can0"), plain(7, "can0"), plain(6, "can1")]
    (envelope,) = pack(rows)
    assert [(b.ch, b.n, b.t0 - T0) for b in envelope.payload.blocks] == [("can0", 2, 7000), ("can1", 2, 5000)]
    assert unpacked([envelope]) == [[rows[2], rows[1], rows[0], rows[3]]]


def test_blocks_are_in_order_of_the_names_of_their_buses() -> None:
    (envelope,) = pack([plain(k, f"can{bus}") for k, bus in enumerate((7, 3, 9, 1, 8, 2))])
    assert [block.ch for block in envelope.payload.blocks] == ["can1", "can2", "can3", "can7", "can8", "can9"]


def test_a_frame_one_window_late_stays_with_its_neighbours_and_a_step_back_begins_anew() -> None:
    late = pack([plain(900), plain(1001), plain(999), plain(1500), plain(2000)])
    assert [[ms for ms, *_ in rows] for rows in unpacked(late)] == [[900], [999, 1001, 1500], [2000]]
    back = pack([plain(7_200_000), plain(0), plain(10)])
    assert [[ms for ms, *_ in rows] for rows in unpacked(back)] == [[7_200_000], [0, 10]]


def where(envelopes: list[Envelope], wanted: list[Row]) -> list[set[int]]:
    """For each wanted row the envelopes it is in."""
    contents = unpacked(envelopes)
    return [{at for at, rows in enumerate(contents) if row in rows} for row in wanted]


def test_a_broadcast_over_a_window_border_travels_whole_where_it_ends() -> None:
    session = [(900, "can0", *cm(32, 0x10, ALL, 3))]
    session += [(950 + 50 * k, "can0", *dt(k, 0x10, ALL)) for k in (1, 2, 3)]
    after = (1120, "can0", *dt(3, 0x10, ALL))  # no session any more
    rows = sorted([*session, after, plain(901), plain(1500), plain(2100)])
    assert where(pack(rows), session) == [{1}] * 4
    assert where(pack(rows), [plain(901), after, plain(1500)]) == [{0}, {1}, {1}]
    assert pack(rows)[1].payload.blocks[0].t0 == T0 + 900_000, "with its own times"


def test_an_answered_session_ends_with_its_acknowledgement() -> None:
    a, b = 0x10, 0x20
    talk = [cm(16, a, b, 2), cm(17, b, a), dt(1, a, b), dt(2, a, b), cm(19, b, a)]
    session = [(800 + 150 * at, "can0", *frame) for at, frame in enumerate(talk)]  # ends at 1400
    assert where(pack([*session, plain(2100)]), session) == [{0}] * 5
    assert len(pack([*session, plain(2100)])) == 2, "nothing was left for the first window"


@pytest.mark.parametrize(("sender", "receiver"), [(0x10, 0x20), (0x20, 0x10)], ids=["by sender", "by receiver"])
def test_an_abort_ends_it(sender: int, receiver: int) -> None:
    session = [
        (900, "can0", *cm(16, 0x10, 0x20, 9)),
        (980, "can0", *dt(1, 0x10, 0x20)),
        (1100, "can0", *cm(255, sender, receiver)),
    ]
    stray = (1200, "can0", *dt(2, 0x10, 0x20))
    envelopes = pack([*session, stray, plain(2050)])
    assert where(envelopes, [*session, stray]) == [{0}] * 4
    assert len(envelopes) == 2


def test_an_abort_between_two_that_talk_both_ways_goes_by_its_pgn() -> None:
    one, other = cm(16, 0x10, 0x20, 9), cm(16, 0x20, 0x10, 9)
    other = (other[0], other[1][:5] + bytes.fromhex("00EF00"))
    rows = [(900, "can0", *one), (910, "can0", *other), (1100, "can0", *cm(255, 0x20, 0x10))]
    more = (2100, "can0", *dt(1, 0x20, 0x10))
    assert where(pack([*rows, more]), [*rows, more]) == [{0}, {1}, {0}, {1}]


def test_a_new_session_of_the_same_pair_ends_the_one_before() -> None:
    first = [(900, "can0", *cm(32, 0x10, ALL, 9)), (950, "can0", *dt(1, 0x10, ALL))]
    second = [(1900, "can0", *cm(32, 0x10, ALL, 8)), (2100, "can0", *dt(1, 0x10, ALL))]
    envelopes = pack([*first, *second, plain(4000)])
    assert where(envelopes, [*first, *second]) == [{0}, {0}, {1}, {1}]


def test_silence_ends_a_session() -> None:
    session = [(900, "can0", *cm(32, 0x10, ALL, 9)), (990, "can0", *dt(1, 0x10, ALL))]
    timely = 990 + SESSION_TIMEOUT // 1000
    waits = pack([*session, plain(1000), plain(2000), plain(timely), plain(3000)])
    assert where(waits, [plain(1000), *session, plain(2000)]) == [{0}, {1}, {1}, {1}]
    late = (timely + 1, "can0", *dt(2, 0x10, ALL))
    assert where(pack([*session, late, plain(4000)]), [*session, late]) == [{0}, {0}, {1}]


def test_same_addresses_on_two_buses_are_two_sessions() -> None:
    one = [(900, "can0", *cm(32, 0x10, ALL, 2)), (1200, "can0", *dt(1, 0x10, ALL)), (1250, "can0", *dt(2, 0x10, ALL))]
    two = [(910, "can1", *cm(32, 0x10, ALL, 1)), (920, "can1", *dt(1, 0x10, ALL))]
    envelopes = pack([one[0], *two, *one[1:]])
    assert where(envelopes, [*one, *two]) == [{1}] * 3 + [{0}] * 2


def test_standard_ids_and_other_pages_are_no_sessions() -> None:
    rows = [(900, "can0", 0x6EC, bytes([32]) + bytes(7)), (950, "can0", CM | 1 << 24 | 0xFF00, bytes([32]) + bytes(7))]
    assert where(pack([*rows, plain(1000)]), rows) == [{0}, {0}]


def test_a_session_that_never_ends_is_let_go() -> None:
    endless = [(k, "can0", *(dt(1, 1, 2) if k else cm(16, 1, 2, 255))) for k in range(3 * MAX_SESSION_FRAMES)]
    envelopes = pack(endless)
    assert len(envelopes) == 3
    assert list(chain(*unpacked(envelopes))) == endless


def test_flush_lets_go_of_open_sessions_and_the_packer_goes_on() -> None:
    packer = Packer("X", 1)
    assert packer.add(batch([(0, "can0", *cm(32, 1, ALL, 9))])) == []
    assert [e.message_id for e in packer.flush()] == ["X:1:1"]
    assert packer.flush() == []
    stray = (900, "can0", *dt(1, 1, ALL))  # of a session that has travelled
    assert packer.add(batch([stray])) == []
    (envelope,) = packer.add(batch([plain(1001)]))
    assert (envelope.message_id, unpacked([envelope])) == ("X:1:2", [[stray]])
    assert [e.message_id for e in packer.flush()] == ["X:1:3"]


def test_sealed_on_demand_an_open_session_stays_and_the_rest_travels() -> None:
    session = [(300, "can0", *cm(32, 0x10, ALL, 2)), (350, "can0", *dt(1, 0x10, ALL)), (700, "can0", *dt(2, 0x10, ALL))]
    packer = Packer("X", 1, seal=10 * SECOND)
    assert packer.add(batch([plain(100), *session[:2]])) == []
    sealed = packer.seal_now(T0 + 400_000, seal=SECOND)
    assert unpacked(sealed) == [[plain(100)]]
    assert packer.seal_now(T0 + 410_000) == [], "nothing new; the session is still open"
    later = packer.add(batch([plain(401), session[2], plain(999), plain(1001)]))
    assert unpacked(later) == [[*session[:2], plain(401), session[2], plain(999)]], "windows are a second long now"
    assert [e.message_id for e in [*sealed, *later, *packer.flush()]] == ["X:1:1", "X:1:2", "X:1:3"]


def test_sealed_on_demand_a_session_that_timed_out_travels() -> None:
    packer = Packer("X", 1, seal=10 * SECOND)
    begun = (300, "can0", *cm(32, 0x10, ALL, 2))
    packer.add(batch([begun]))
    assert packer.seal_now(T0 + 300_000 + SESSION_TIMEOUT) == []
    assert unpacked(packer.seal_now(T0 + 300_001 + SESSION_TIMEOUT)) == [[begun]]


def test_a_seal_that_cannot_be_is_refused_later_too() -> None:
    packer = Packer("X", 1)
    with pytest.raises(ConfigError, match="seal"):
        packer.seal_now(T0, seal=0)


def noise(count: int, length: int, span_us: int, buses: int = 1) -> FrameBatch:
    """Random ids and data: it cannot be compressed."""
    random = np.random.default_rng(count)
    width = 64 if length > 8 else 8
    return FrameBatch(
        T0 + np.sort(random.integers(0, span_us, count)),
        random.integers(0, 1 << 29, count, dtype=np.uint32) | np.uint32(EXTENDED),
        np.full(count, length, np.uint8),
        np.full(count, Flag.FD if length > 8 else 0, np.uint8),
        random.integers(0, 256, (count, width), dtype=np.uint8),
        random.integers(0, buses, count, dtype=np.uint8),
        tuple(f"can{k}" for k in range(buses)),
    )


@pytest.mark.parametrize(("length", "buses"), [(8, 1), (8, 40), (64, 1), (64, 3)])
def test_no_message_reaches_the_limit_and_none_is_needlessly_small(length: int, buses: int) -> None:
    frames = noise(30_000, length, SECOND, buses)
    packer = Packer("Ü" * 100, 2**47)
    envelopes = packer.add(frames) + packer.flush()
    sizes = [len(wire.encode(e)) for e in envelopes]
    assert max(sizes) < wire.MAX_MESSAGE
    assert min(sizes[:-1]) > wire.MAX_MESSAGE // 2
    back = FrameBatch.concat([wire.unpack_blocks(e.payload.blocks) for e in envelopes])
    assert len(back) == len(frames)
    assert np.array_equal(np.sort(back.ts), frames.ts)


def test_a_plan_that_was_too_good_is_made_again() -> None:
    frames, room = noise(5000, 8, SECOND), 20_000
    parts = list(_fitting(frames, np.zeros(len(frames), np.int64), room, estimate=10**9))
    assert max(sum(len(block.b64) for block in blocks) for blocks, _ in parts) < room
    back = FrameBatch.concat([wire.unpack_blocks(blocks) for blocks, _ in parts])
    assert np.array_equal(back.data, frames.data)


def test_sessions_stay_whole_when_a_window_is_split() -> None:
    frames = noise(20_000, 8, SECOND)
    stamps = [int(ts - T0) for ts in frames.ts[:: len(frames) // 250]][:250]
    tp = [(0, "can0", *cm(32, 0x33, ALL, 249)), *((0, "can0", *dt(k, 0x33, ALL)) for k in range(1, 250))]
    session = dataclasses.replace(batch(tp), ts=T0 + np.array(stamps, np.int64))
    packer = Packer("X", 1)
    envelopes = packer.add(FrameBatch.concat([frames, session]).sorted()) + packer.flush()
    counts = []
    for envelope in envelopes:
        ids = wire.unpack_blocks(envelope.payload.blocks).arbitration_id
        counts.append(int(((ids == tp[0][2]) | (ids == tp[1][2])).sum()))
    assert len(envelopes) >= 3
    assert [count for count in counts if count] == [250]


@pytest.mark.parametrize("seal", [0, -1, 601 * SECOND])
def test_a_seal_that_cannot_be_is_refused(seal: int) -> None:
    with pytest.raises(ConfigError, match="seal"):
        Packer("X", 1, seal=seal)


contents = st.one_of(
    st.tuples(st.just(0x18FEF100 | EXTENDED), st.binary(max_size=8)),
    st.tuples(st.just(0x123), st.binary(min_size=64, max_size=64)),
    st.builds(cm, st.sampled_from([16, 17, 19, 32, 255]), *[st.sampled_from([1, 2, ALL])] * 2, st.integers(0, 4)),
    st.builds(dt, st.integers(0, 4), *[st.sampled_from([1, 2, ALL])] * 2),
)
steps = st.sampled_from([0, 1, 50, 200, 400, 1300, 5000, -30, -3_000, -100_000])


@st.composite
def traffic(draw: st.DrawFn) -> list[Row]:
    ms, rows = 10_000_000, []
    for step, bus, (identifier, data) in draw(
        st.lists(st.tuples(steps, st.sampled_from(["can0", "can1"]), contents), max_size=60)
    ):
        ms += step
        rows.append((ms, bus, identifier, data))
    return rows


@settings(max_examples=150, deadline=None)
@given(traffic(), st.integers(1, 20), st.sampled_from([1000, 100_000, SECOND, 60 * SECOND]))
def test_portions_do_not_matter_and_nothing_is_lost_or_doubled(rows: list[Row], portion: int, seal: int) -> None:
    at_once = pack(rows, seal=seal)
    assert [wire.encode(e) for e in pack(rows, portion, seal=seal)] == [wire.encode(e) for e in at_once]
    assert sorted(chain(*unpacked(at_once))) == sorted(rows)
    assert [e.message_id for e in at_once] == [f"TRUCK-1:7:{k + 1}" for k in range(len(at_once))]
    assert [e.ts for e in at_once] == [T0 + 1000 * max(ms for ms, *_ in found) for found in unpacked(at_once)]


@settings(max_examples=60, deadline=None)
@given(traffic(), st.integers(1, 20), st.lists(st.integers(0, 20), max_size=4))
def test_sealing_on_demand_anywhere_loses_and_doubles_nothing(rows: list[Row], portion: int, where: list[int]) -> None:
    packer, envelopes = Packer("X", 1, seal=60 * SECOND), []
    for at in range(0, len(rows), portion):
        envelopes += packer.add(batch(rows[at : at + portion]))
        if at // portion in where:
            envelopes += packer.seal_now(T0 + 1000 * rows[min(at + portion, len(rows)) - 1][0], seal=SECOND)
    assert sorted(chain(*unpacked(envelopes + packer.flush()))) == sorted(rows)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 20), st.integers(1, 240)), min_size=1, max_size=8),
    st.integers(1, 50),
)
def test_complete_broadcasts_are_never_cut(sessions: list[tuple[int, int, int]], portion: int) -> None:
    """Broadcasts of different senders, interleaved, with pauses shorter than the time-out."""
    rows: list[Row] = []
    for sender, (begin, packets, pause) in enumerate(sessions):
        rows.append((begin, "can0", *cm(32, sender, ALL, packets)))
        rows += [(begin + k * pause, "can0", *dt(k, sender, ALL)) for k in range(1, packets + 1)]
    rows.sort(key=lambda row: row[0])
    rows.append(plain(20_000))
    contents = unpacked(pack(rows, portion))
    for sender, (_, packets, _) in enumerate(sessions):
        counts = [
            sum(
                identifier & 0xFF == sender and identifier & 0xFE0000 in (0xEA0000, 0xEC0000)
                for _, _, identifier, _ in found
            )
            for found in contents
        ]
        assert [count for count in counts if count] == [packets + 1]
