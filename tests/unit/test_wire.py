"""The wire is fixed by golden files: what they hold is read, and written again byte for byte."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import msgspec
import numpy as np
import pytest

from duco_workbench import wire
from duco_workbench.errors import DataError
from duco_workbench.model import MSG_TYPES, REMOTE, Envelope, Flag, FrameBatch

GOLDEN = Path(__file__).parents[1] / "data" / "wire"
T = 1_760_000_000_000_000


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes().strip()


@pytest.mark.parametrize("name", [p.stem for p in sorted(GOLDEN.glob("*.json"))])
def test_a_golden_file_is_read_and_written_again_to_the_byte(name: str) -> None:
    assert wire.encode(wire.decode(golden(name))) == golden(name)


def test_there_is_a_golden_file_for_every_msg_type() -> None:
    assert {wire.decode(p.read_bytes()).msg_type for p in GOLDEN.glob("*.json")} == set(MSG_TYPES)


def test_the_golden_position() -> None:
    envelope = wire.decode(golden("vehicle_position"))
    assert (envelope.chassis_id, envelope.message_id, envelope.ts) == ("demo-01", "demo-01:1700000000:4", T)
    assert envelope.payload == wire.Position(52.5, 13.4, 34.2, 42.5, 271.0, 3, 11)


@pytest.mark.parametrize(("name", "first_length"), [("vehicle_can", 8), ("vehicle_can_fd", 48)])
def test_the_golden_frames(name: str, first_length: int) -> None:
    frames = wire.unpack_blocks(wire.decode(golden(name)).payload.blocks)
    by_time = frames.sorted()
    assert by_time.channels == ("can0", "can1")
    assert by_time.ts.tolist() == [T - 900_000, T - 899_750, T - 890_000, T - 1]
    assert by_time.arbitration_id.tolist() == [0x8CF00400, 0x98FEF100, 0x123, 0x124 | REMOTE]
    assert by_time.dlc.tolist() == [first_length, 8, 3, 0]
    assert by_time.channel.tolist() == [0, 1, 0, 0]
    assert by_time.data[0, :first_length].tolist() == list(range(first_length))
    assert by_time.data[2].tolist()[:4] == [16, 17, 18, 0]
    assert by_time.flags[3] & Flag.REMOTE


def test_unknown_fields_are_ignored() -> None:
    body = golden("vehicle_event").replace(b'{"v":1,', b'{"v":1,"later":{"x":[1]},')
    assert wire.decode(body) == wire.decode(golden("vehicle_event"))


def block(**changes: object) -> bytes:
    raw = np.zeros(2, wire.CAN18).tobytes()
    good = {"ch": "can0", "t0": T, "n": 2, "enc": wire.CLASSIC, "b64": base64.b64encode(zlib.compress(raw)).decode()}
    envelope = Envelope(
        msg_type="vehicle_can", chassis_id="m", message_id="m:1:1", ts=T, payload={"blocks": [good | changes]}
    )
    return wire.encode(envelope)


def packed(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw)).decode()


nine = np.zeros(2, wire.CAN18)
nine["dlc"] = 9
BAD = {
    "malformed_json": b'{"v":1,"msgType"',
    "bad_envelope": b'{"v":1,"msgType":"vehicle_can"}',
    "unknown_version": golden("vehicle_event").replace(b'"v":1', b'"v":9'),
    "unknown_msg_type": golden("vehicle_event").replace(b"vehicle_event", b"vehicle_song"),
    "bad_payload": golden("vehicle_position").replace(b'"lat":52.5', b'"lat":"north"'),
    "bad_base64": block(b64="%%%"),
    "bad_compression": block(b64=base64.b64encode(b"not zlib").decode()),
    "too_large": block(b64=packed(bytes(wire.MAX_UNPACKED + 18))),
    "unknown_encoding": block(enc="can99"),
    "count_mismatch": block(n=3),
    "wrong_dlc": block(b64=packed(nine.tobytes())),
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_input_has_its_own_reason(reason: str) -> None:
    with pytest.raises(DataError) as caught:
        wire.unpack_blocks(wire.decode(BAD[reason]).payload.blocks)
    assert caught.value.reason == reason
    assert caught.value.detail


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (golden("vehicle_event").replace(str(T).encode(), b"1" + b"0" * 30), "bad_envelope"),
        (block(t0=10**30), "bad_payload"),
        (block(n=-1), "bad_payload"),
        (golden("vehicle_event").replace(b'"payload":', b'"payload":' + b"[" * 100_000), "malformed_json"),
    ],
)
def test_what_no_column_and_no_stack_holds_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        wire.decode(body)


def test_a_body_cut_short_inside_its_compressed_data() -> None:
    whole = zlib.compress(np.zeros(2, wire.CAN18).tobytes())
    with pytest.raises(DataError, match="bad_compression"):
        wire.unpack_blocks(wire.decode(block(b64=base64.b64encode(whole[:-6]).decode())).payload.blocks)


def test_several_blocks_together_stay_under_the_limit() -> None:
    half = packed(bytes((wire.MAX_UNPACKED // 18 // 2 + 1000) * 18))
    n = wire.MAX_UNPACKED // 18 // 2 + 1000
    blocks = [wire.Block("can0", T, n, wire.CLASSIC, half), wire.Block("can1", T, n, wire.CLASSIC, half)]
    with pytest.raises(DataError, match="too_large"):
        wire.unpack_blocks(blocks)


@pytest.mark.parametrize("width", [8, 64])
def test_frames_survive_the_round_trip(width: int) -> None:
    rng = np.random.default_rng(width)
    n = 500
    dlc = rng.integers(0, width + 1, n).astype(np.uint8)
    data = rng.integers(0, 256, (n, width)).astype(np.uint8)
    data[np.arange(width) >= dlc[:, None]] = 0
    frames = FrameBatch(
        T + np.sort(rng.integers(0, 10**6, n)),
        rng.integers(0, 1 << 29, n).astype(np.uint32),
        dlc,
        np.full(n, Flag.FD if width == 64 else 0, np.uint8),
        data,
        np.zeros(n, np.uint8),
    )
    back = wire.unpack_blocks(wire.pack_blocks(frames))
    for name in ("ts", "arbitration_id", "dlc", "flags", "data"):
        np.testing.assert_array_equal(getattr(back, name), getattr(frames, name))


def test_the_head_is_read_without_the_payload() -> None:
    body = golden("vehicle_can")
    assert msgspec.structs.asdict(wire.read_head(body))["message_id"] == wire.decode(body).message_id
