"""AMQP types, frames and messages: round trips, and the codec of azure-eventhub as the second opinion."""

import contextlib
import math
import uuid

import pytest
from azure.eventhub._pyamqp import _decode as their_decode
from azure.eventhub._pyamqp import _encode as their_encode
from azure.eventhub._pyamqp import performatives
from azure.eventhub._pyamqp.endpoints import Source, Target
from azure.eventhub._pyamqp.error import AMQPError
from azure.eventhub._pyamqp.message import Message, Properties
from azure.eventhub._pyamqp.utils import amqp_long_value, amqp_string_value
from hypothesis import given
from hypothesis import strategies as st

from duco_workbench.local.hub.amqp import codec, frames, messages
from duco_workbench.local.hub.amqp.codec import Described, Reader
from duco_workbench.local.hub.amqp.errors import DECODE_ERROR, FRAMING_ERROR, AmqpError
from duco_workbench.local.hub.amqp.frames import Code
from duco_workbench.local.hub.journal import Stored

ASCII = st.text(st.characters(max_codepoint=127), max_size=300)
UNSIGNED_32, UNSIGNED_64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
SIGNED_32, SIGNED_64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)


def of(encode, values):
    """(bytes, value) of one type."""
    return values.map(lambda value: (encode(value), value))


SIMPLE = st.one_of(
    st.just((codec.NULL, None)),
    of(codec.boolean, st.booleans()),
    of(codec.ubyte, st.integers(0, 255)),
    of(codec.ushort, st.integers(0, 65535)),
    of(codec.uint, UNSIGNED_32),
    of(codec.ulong, UNSIGNED_64),
    of(codec.integer, SIGNED_32),
    of(codec.long, SIGNED_64),
    of(codec.timestamp, SIGNED_64),
    of(codec.uuid, st.uuids()),
    of(codec.binary, st.binary(max_size=300)),
    of(codec.string, st.text(max_size=300)),
    of(codec.symbol, ASCII),
    # Never empty: the SDK stumbles over an empty array, and we send none.
    of(codec.strings, st.lists(st.text(max_size=5), min_size=1, max_size=300)),
    of(codec.symbols, st.lists(ASCII, min_size=1, max_size=3)),
)


def of_list(pairs):
    return codec.listed([data for data, _ in pairs]), [value for _, value in pairs]


def of_map(pairs):
    values = {key: value for (_, key), (_, value) in pairs}
    return codec.mapped([(key, value) for (key, _), (value, _) in pairs]), values


def of_described(pair):
    return codec.described(0x24, pair[0]), Described(0x24, pair[1])


def compound(inner):
    keys = st.text(max_size=20).map(lambda text: (codec.string(text), text))
    return st.one_of(
        st.lists(inner, max_size=300).map(of_list),
        st.lists(st.tuples(keys, inner), max_size=20, unique_by=lambda pair: pair[0][1]).map(of_map),
        inner.map(of_described),
    )


VALUES = st.recursive(SIMPLE, compound, max_leaves=20)


def as_they_see(value):
    """The SDK leaves texts as bytes, drops descriptors it does not know, and names outcomes."""
    match value:
        case Described(code, inner):
            return {their_decode._COMPOSITES[code]: as_they_see(inner)}
        case str():
            return value.encode()
        case list():
            return [as_they_see(each) for each in value]
        case dict():
            return {as_they_see(key): as_they_see(each) for key, each in value.items()}
    return value


def they_decode(data):
    rest, value = their_decode._DECODE_BY_CONSTRUCTOR[data[0]](memoryview(data)[1:])
    assert not rest
    return value


def they_encode(value):
    output = bytearray()
    their_encode.encode_value(output, value)
    return bytes(output)


@given(VALUES)
def test_what_is_encoded_is_decoded(pair):
    data, value = pair
    reader = Reader(data)
    assert reader.value() == value
    assert not reader


@given(VALUES)
def test_the_sdk_reads_the_same(pair):
    data, value = pair
    assert they_decode(data) == as_they_see(value)


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.text(), st.uuids(), st.binary(max_size=300), SIGNED_32, st.floats()),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
        max_leaves=10,
    )
)
def test_what_the_sdk_encodes_is_read(value):
    read = Reader(they_encode(value)).value()
    assert read == value or repr(read) == repr(value)  # nan


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("72 3fc00000", 1.5),
        ("82 bff8000000000000", -1.5),
        ("72 7fc00000", math.nan),
        ("73 0001f600", "😀"),
        ("56 01", True),
        ("51 ff", -1),
        ("61 fffe", -2),
        ("74 22500000", bytes.fromhex("22500000")),
        ("45", []),
        ("e0 02 00 45", []),
        ("e0 06 02 70 00000001", None),  # two announced, one sent
        ("e0 0d 02 00 53 24 70 00000001 00000002", [Described(0x24, 1), Described(0x24, 2)]),
    ],
)
def test_types_that_only_peers_send(data, value):
    reader = Reader(bytes.fromhex(data))
    if value is None:
        with pytest.raises(AmqpError):
            reader.value()
        return
    assert repr(reader.value()) == repr(value)


def test_symbols_are_ascii():
    assert Reader(codec.symbol("applikation/möbel")).value() == "applikation/m?bel"


# -- what no peer should send


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_an_amqp_error(data):
    for decode in (lambda: Reader(data).value(), lambda: frames.decode(0, data), lambda: messages.read_request(data)):
        with contextlib.suppress(AmqpError):  # any other exception fails
            decode()


@given(VALUES, st.data())
def test_a_value_cut_short_is_an_error(pair, drawn):
    data = pair[0]
    cut = drawn.draw(st.integers(0, len(data) - 1))
    with pytest.raises(AmqpError, match=DECODE_ERROR):
        Reader(data[:cut]).value()


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("a list of 4 billion", b"\xd0\x00\x00\x00\x08\xff\xff\xff\xff\x40\x40\x40\x40"),
        ("an array of 4 billion nulls", b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40"),
        ("4 GB of bytes", b"\xb0\xff\xff\xff\xffabc"),
        ("a thousand values, one in the other", b"\x00\x40" * 1000 + b"\x40"),
        ("a map with a key only", b"\xc1\x02\x01\x40"),
        ("a map with a list for a key", b"\xc1\x03\x02\x45\x40"),
        ("a list with more in it than counted", b"\xc0\x03\x01\x40\x40"),
        ("no UTF-8", b"\xa1\x02\xff\xff"),
        ("no type", b"\x3f"),
    ],
)
def test_nothing_is_reserved_or_guessed_for_a_liar(what, data):
    with pytest.raises(AmqpError, match=DECODE_ERROR):
        Reader(data).value()


@pytest.mark.parametrize(
    "header", ["00000007 02 00 0000", "00010001 02 00 0000", "00000010 01 00 0000", "00000010 02 07 0000"]
)
def test_a_header_that_is_none(header):
    with pytest.raises(AmqpError, match=FRAMING_ERROR):
        frames.read_header(bytes.fromhex(header), 65536)


# -- frames


def they_send(performative):
    _, data = their_encode.encode_frame(performative)
    return frames.decode(0, bytes(data))


def test_frames_of_the_sdk_are_read():
    source = Source(
        address="amqps://h/hub/ConsumerGroups/$Default/Partitions/1",
        filters={
            b"apache.org:selector-filter:string": (b"apache.org:selector-filter:string", amqp_string_value("x > '1'"))
        },
    )
    frame = they_send(
        performatives.AttachFrame(
            name="link",
            handle=7,
            role=True,
            send_settle_mode=0,
            rcv_settle_mode=1,
            source=source,
            target=Target(address="here"),
            unsettled=None,
            incomplete_unsettled=None,
            initial_delivery_count=None,
            max_message_size=None,
            offered_capabilities=None,
            desired_capabilities=[b"com.microsoft:georeplication"],
            properties={b"com.microsoft:epoch": amqp_long_value(3)},
        )
    )
    assert (frame.code, frame.text(0), frame.number(1), frame.flag(2)) == (Code.ATTACH, "link", 7, True)
    assert frame.composite(5)[0] == source.address
    assert frame.composite(5)[7] == {
        "apache.org:selector-filter:string": Described("apache.org:selector-filter:string", "x > '1'")
    }
    assert frame.get(12) == ["com.microsoft:georeplication"]
    assert frame.get(13) == {"com.microsoft:epoch": 3}
    assert Reader(frame.raw(6)).value() == frame.get(6)
    assert frame.get(14) is None


@given(UNSIGNED_32, UNSIGNED_32, st.binary(max_size=400), st.booleans())
def test_transfers_of_the_sdk_are_read(handle, delivery, payload, more):
    frame = they_send(
        performatives.TransferFrame(
            handle=handle,
            delivery_id=delivery,
            delivery_tag=b"t",
            message_format=0,
            settled=True,
            more=more,
            payload=payload,
        )
    )
    assert (frame.number(0), frame.number(1), frame.flag(5), frame.payload) == (handle, delivery, more, payload)


@given(st.integers(0, 255), UNSIGNED_32, UNSIGNED_32, st.binary(max_size=100_000), st.booleans())
def test_the_sdk_reads_our_transfers(channel, handle, delivery, payload, more):
    data = frames.transfer(channel, handle, delivery, len(payload), more) + payload
    header = frames.read_header(data[:8], len(data))
    assert header == (len(data), 2, frames.AMQP, channel)
    code, fields = their_decode.decode_frame(memoryview(data)[8:])
    assert (code, len(fields), fields[:2], fields[3:6]) == (0x14, 12, [handle, delivery], [0, True, more])
    assert bytes(fields[11]) == payload


@pytest.mark.parametrize(("code", "width"), [(Code.OPEN, 10), (Code.BEGIN, 8), (Code.ATTACH, 14), (Code.FLOW, 11)])
def test_the_sdk_finds_every_field_of_our_frames(code, width):
    data = frames.encode(code, [codec.uint(1)], channel=3)
    assert their_decode.decode_frame(memoryview(data)[8:]) == (code, [1, *[None] * (width - 1)])
    assert frames.decode(3, data[8:]).number(0) == 1


def test_the_sdk_reads_our_errors():
    data = frames.encode(Code.DETACH, [codec.uint(1), codec.TRUE, frames.error("amqp:link:stolen", "by another")])
    _, fields = their_decode.decode_frame(memoryview(data)[8:])
    assert fields == [1, True, [b"amqp:link:stolen", b"by another", None]]
    theirs = they_send(performatives.CloseFrame(error=AMQPError(condition=b"amqp:not-found", description="x")))
    assert theirs.composite(0)[:2] == ["amqp:not-found", "x"]


# -- messages


def stored(body=b"{}", system=None, properties=None, sequence=5):
    return Stored(1, sequence, 1_790_000_000_123_456, "wl-1", "638", system or {}, properties or {}, body)


@given(
    st.dictionaries(
        st.sampled_from(["message_id", "correlation_id", "user_id", "content_type", "content_encoding"]), ASCII
    ),
    st.dictionaries(st.text(max_size=20), st.text(max_size=300), max_size=20),
    st.binary(max_size=70_000),
)
def test_the_sdk_reads_our_events(system, properties, body):
    theirs = their_decode.decode_payload(memoryview(messages.event(stored(body, system, properties))))
    assert b"".join(theirs.data) == body
    assert (theirs.application_properties or {}) == as_they_see(properties)
    got = theirs.properties or Properties()
    names = ("message_id", "correlation_id", "user_id", "content_type", "content_encoding")
    assert {name: getattr(got, name).decode() for name in names if getattr(got, name) is not None} == system
    assert theirs.delivery_annotations is None


def test_the_end_of_the_partition_goes_with_an_event():
    theirs = their_decode.decode_payload(memoryview(messages.event(stored(), messages.Last(9, 1000, 2000))))
    assert theirs.delivery_annotations == {
        b"last_enqueued_sequence_number": 9,
        b"last_enqueued_offset": b"9",
        b"last_enqueued_time_utc": 1000,
        b"runtime_info_retrieval_time_utc": 2000,
    }


@given(st.one_of(st.uuids(), st.text(max_size=20), st.binary(max_size=20), UNSIGNED_64), st.text())
def test_requests_of_the_sdk_are_read_and_answered(message_id, token):
    output = bytearray()
    asked = {"operation": "put-token", "name": "sb://h/hub"}
    their_encode.encode_payload(
        output, Message(value=token or "-", properties=Properties(message_id=message_id), application_properties=asked)
    )
    request = messages.read_request(bytes(output))
    assert (request.properties, request.body, request.reply_to) == (asked, token or "-", None)
    answer = messages.answer(request, messages.Answer(202, "Accepted", codec.mapped([(codec.string("a"), codec.NULL)])))
    theirs = their_decode.decode_payload(memoryview(answer))
    assert theirs.properties.correlation_id == as_they_see(message_id)
    assert theirs.application_properties == {b"status-code": 202, b"status-description": b"Accepted"}
    assert theirs.value == {b"a": None}


def test_a_request_without_an_id_is_answered_too():
    request = messages.read_request(codec.described(0x77, codec.NULL))
    assert request == messages.Request(None, None, {}, None)
    assert messages.answer(request, messages.Answer(400, "no"))


def test_uuids_are_what_they_were():
    one = uuid.uuid4()
    assert Reader(codec.message_id(one)).value() == one
    assert codec.message_id(1.5) == codec.NULL
