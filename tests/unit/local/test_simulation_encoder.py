"""The demo databases, their reader and the encoder, against cantools."""

import cantools
import numpy as np
import pytest

from duco_workbench.local.simulation import SimulatedMachine, SpeedMachine, implement, powertrain
from duco_workbench.local.simulation.encoder import MessageEncoder
from duco_workbench.local.simulation.layout import read
from duco_workbench.local.simulation.state import TICK, Model, State
from duco_workbench.model import ID_MASK, SECOND

HOUR = 3600 * SECOND
T0 = 1_790_000_000 * SECOND // HOUR * HOUR
PATHS = [*SimulatedMachine.bindings().values(), *SpeedMachine.bindings().values()]
OURS = [m for path in PATHS for m in read(path)]
THEIRS = {m.name: m for path in PATHS for m in cantools.database.load_file(path).messages}


@pytest.mark.parametrize("message", OURS, ids=lambda m: m.name)
def test_the_reader_sees_what_cantools_sees(message):
    theirs = THEIRS[message.name]
    assert (message.length, message.period) == (theirs.length, theirs.cycle_time * 1000)
    assert message.arbitration_id == theirs.frame_id | theirs.is_extended_frame << 31
    assert message.is_j1939 == (theirs.protocol == "j1939")
    ours = {s.name: s for s in message.signals}
    assert ours.keys() == {s.name for s in theirs.signals}
    for s in theirs.signals:
        own = ours[s.name]
        assert (own.start, own.length, own.is_big_endian) == (s.start, s.length, s.byte_order == "big_endian")
        assert (own.is_signed, own.is_float, own.scale, own.offset) == (s.is_signed, s.is_float, s.scale, s.offset)
        assert own.is_multiplexer == s.is_multiplexer
        assert own.page == (s.multiplexer_ids[0] if s.multiplexer_ids else None)


def test_the_databases_have_every_kind_of_message():
    signals = [s for m in OURS for s in m.signals]
    assert any(s.is_signed and s.is_big_endian for s in signals)
    assert any(s.is_float for s in signals)
    assert any(m.pages != (None,) for m in OURS)
    assert sum(m.length > 8 for m in OURS) == 3
    j1939 = [m for m in THEIRS.values() if m.protocol == "j1939"]
    assert len(j1939) == 22
    assert all(s.spn for m in j1939 for s in m.signals)


def test_pgns_and_spns_are_those_of_the_standard():
    """A few everybody knows, so that no slip of a digit stays."""
    spn = {s.name: (s.spn, m.frame_id >> 8 & 0x3FFFF) for m in THEIRS.values() for s in m.signals}
    assert spn["EngSpeed"] == (190, 61444)
    assert spn["WheelBasedVehicleSpeed"] == (84, 65265)
    assert spn["EngCoolantTemp"] == (110, 65262)
    assert spn["EngOilPress"] == (100, 65263)
    assert spn["FuelLevel1"] == (96, 65276)
    assert spn["HighResolutionTotalVehicleDistance"] == (917, 65217)
    assert spn["EngTotalHoursOfOperation"] == (247, 65253)


def _random_raw(signal, rng, n):
    low = -(1 << signal.length - 1) if signal.is_signed else 0
    high = (1 << signal.length - 1) - 1 if signal.is_signed else (1 << signal.length) - 1
    return rng.integers(low, high, n, endpoint=True)


@pytest.mark.parametrize("message", [m for m in OURS if not m.is_j1939], ids=lambda m: m.name)
def test_every_raw_value_comes_back_from_cantools(message):
    """The whole range of every signal, not only what the machine happens to send."""
    rng = np.random.default_rng(1)
    for page in message.pages:
        signals = [s for s in message.signals if s.page in (None, page) and not s.is_multiplexer]
        values = {s.name: _random_raw(s, rng, 50) * s.scale + s.offset for s in signals}
        for row, data in enumerate(MessageEncoder(message, page).encode(values, 50)):
            decoded = THEIRS[message.name].decode(data.tobytes(), decode_choices=False)
            for s in signals:
                tolerance = abs(values[s.name][row]) * 1e-6 if s.is_float else s.scale * 1e-6
                assert decoded[s.name] == pytest.approx(values[s.name][row], abs=tolerance + 1e-12)


def test_not_available_error_and_limits_of_j1939():
    eec1 = next(m for m in OURS if m.name == "EEC1")
    values = {"EngSpeed": np.array([np.nan, np.inf, 9000.0, -5.0, 1200.06])}
    data = MessageEncoder(eec1).encode(values, 5)
    assert data[:, 3:5].copy().view("<u2")[:, 0].tolist() == [0xFFFF, 0xFE00, 0xFAFF, 0, 9600]
    assert (np.delete(data, [3, 4], axis=1) == 0xFF).all()  # all else is not available


def test_a_value_without_a_signal_is_refused():
    with pytest.raises(KeyError, match=r"EEC1 has no signals \['Engspeed'\]"):
        MessageEncoder(next(m for m in OURS if m.name == "EEC1")).encode({"Engspeed": 1.0}, 1)


def _truth_of(model, message, sender, page, ts):
    functions = powertrain.MESSAGES if message.is_j1939 else implement.MESSAGES
    ticks = ts // TICK * TICK
    state = State(model, T0 // HOUR, ticks, sender=sender, page=page or 0, salt=(message.name, sender))
    return functions[message.name](state)


def _frames_of(frames, message, sender, page):
    mask = ID_MASK & ~0xFF if message.is_j1939 else ID_MASK
    chosen = (frames.arbitration_id & mask) == (message.arbitration_id & mask)
    if message.is_j1939:
        chosen &= (frames.arbitration_id & 0xFF) == sender
    if page is not None:
        selector = next(s for s in message.signals if s.is_multiplexer)
        chosen &= (frames.data[:, 0] >> (4 if selector.is_big_endian else 0) & 0xF) == page
        chosen &= frames.dlc == message.length
    return frames[chosen]


CASES = [
    (m, sender, page)
    for m in OURS[:-2]
    if m.length <= 8
    for sender in (powertrain.SENDERS.get(m.name, (0,)) if m.is_j1939 else (0,))
    for page in m.pages
]


@pytest.fixture(scope="module")
def machine():
    return SimulatedMachine("wl-1", seed=1)


@pytest.fixture(scope="module")
def minute(machine):
    return machine.frames(T0 + 700 * SECOND, T0 + 760 * SECOND)


@pytest.fixture(scope="module")
def model():
    return Model("wl-1", 1)


@pytest.mark.parametrize(("message", "sender", "page"), CASES, ids=lambda c: getattr(c, "name", str(c)))
def test_frames_decode_to_the_physics_within_quantisation(minute, model, message, sender, page):
    bus = minute.of("can0" if message.is_j1939 else "can1")
    frames = _frames_of(bus, message, sender, page)[:60]
    assert len(frames) >= 30
    truth = _truth_of(model, message, sender, page, frames.ts)
    columns = {name: np.broadcast_to(np.asarray(value, float), len(frames)) for name, value in truth.items()}
    for row in range(len(frames)):
        assert frames.dlc[row] == message.length
        decoded = THEIRS[message.name].decode(frames.data[row, : message.length].tobytes(), decode_choices=False)
        for s in message.signals:
            if s.page not in (None, page) or s.is_multiplexer:
                continue
            if s.name not in columns:
                assert decoded[s.name] == pytest.approx(((1 << s.length) - 1) * s.scale + s.offset)
            else:
                expected = columns[s.name][row]
                tolerance = abs(expected) * 1e-6 + 1e-9 if s.is_float else s.scale * 0.5001
                assert decoded[s.name] == pytest.approx(expected, abs=tolerance)


def test_long_messages_decode_to_their_values(machine, model):
    """Bytes put together by hand from the data frames; the first session of each in ten seconds."""
    frames = machine.frames(T0 + 700 * SECOND, T0 + 711 * SECOND).of("can0")
    for message in (m for m in OURS if m.length > 8 and m.name in powertrain.MESSAGES):
        sender = powertrain.SENDERS.get(message.name, (0,))[0]
        pgn = message.pgn.to_bytes(3, "little")
        begins = [
            i for i, d in enumerate(frames.data) if frames.arbitration_id[i] & 0xFF == sender and bytes(d[5:8]) == pgn
        ]
        after = frames[begins[0] + 1 :]
        data = after[(after.arbitration_id & 0x00FF00FF) == (0xEB0000 | sender)].data[: -(-message.length // 7), 1:]
        decoded = THEIRS[message.name].decode(data.tobytes()[: message.length], decode_choices=False)
        truth = _truth_of(model, message, sender, None, frames.ts[begins[:1]])
        for s in message.signals:
            if s.name in truth:
                assert decoded[s.name] == pytest.approx(float(np.ravel(truth[s.name])[0]), abs=s.scale * 0.5001)
