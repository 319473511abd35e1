"""Messages of AMQP 1.0 (part 3 of the standard): events as IoT Hub writes them, requests and their answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from ..journal import Stored
from . import codec
from .codec import NULL, Reader, described, long, mapped, string, symbol, timestamp
from .errors import DECODE_ERROR, AmqpError

DELIVERY_ANNOTATIONS, ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES, DATA, VALUE = 0x71, 0x72, 0x73, 0x74, 0x75, 0x77

_AUTH_METHOD = json.dumps(
    {"scope": "device", "type": "sas", "issuer": "iothub", "acceptingIpFilterRule": None}, separators=(",", ":")
)
_SEQUENCE_NUMBER, _OFFSET, _ENQUEUED_TIME = map(
    symbol, ("x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time")
)
_HUB_ENQUEUED_TIME = symbol("iothub-enqueuedtime")
_LAST_SEQUENCE, _LAST_OFFSET, _LAST_TIME, _RETRIEVED = map(
    symbol,
    (
        "last_enqueued_sequence_number",
        "last_enqueued_offset",
        "last_enqueued_time_utc",
        "runtime_info_retrieval_time_utc",
    ),
)


class Last(NamedTuple):
    """The last message of a partition; times in milliseconds UTC."""

    sequence: int
    enqueued: int
    retrieved: int


def event(stored: Stored, last: Last | None = None) -> bytes:
    """What a consumer gets: annotations, properties, application properties, body.

    Args:
        last: for a consumer that tracks the end of the partition.
    """
    return b"".join(
        (
            _tracking(last) if last else b"",
            _annotations(stored),
            _properties(stored.system),
            _application_properties(stored.properties),
            described(DATA, codec.binary_header(len(stored.body))),
            stored.body,
        )
    )


def _tracking(last: Last) -> bytes:
    pairs = [
        (_LAST_SEQUENCE, long(last.sequence)),
        (_LAST_OFFSET, string(str(last.sequence))),
        (_LAST_TIME, timestamp(last.enqueued)),
        (_RETRIEVED, timestamp(last.retrieved)),
    ]
    return described(DELIVERY_ANNOTATIONS, mapped(pairs))


def _annotations(stored: Stored) -> bytes:
    enqueued = timestamp(stored.enqueued // 1000)
    pairs = [
        (_SEQUENCE_NUMBER, long(stored.sequence)),
        (_OFFSET, string(str(stored.sequence))),
        (_ENQUEUED_TIME, enqueued),
        *_of_device(stored.device_id, stored.generation),
        (_HUB_ENQUEUED_TIME, enqueued),
    ]
    return described(ANNOTATIONS, mapped(pairs))


@lru_cache(maxsize=4096)
def _of_device(device_id: str, generation: str) -> Sequence[tuple[bytes, bytes]]:
    texts = {
        "iothub-connection-device-id": device_id,
        "iothub-connection-auth-method": _AUTH_METHOD,
        "iothub-connection-auth-generation-id": generation,
        "iothub-message-source": "Telemetry",
    }
    return [(symbol(name), string(text)) for name, text in texts.items()]


def _properties(system: Mapping[str, str]) -> bytes:
    if not system:
        return b""
    text = {name: string(value) for name, value in system.items()}
    fields = [
        text.get("message_id", NULL),
        codec.binary(system["user_id"].encode()) if "user_id" in system else NULL,
        *[NULL] * 3,  # to, subject, reply-to
        text.get("correlation_id", NULL),
        symbol(system["content_type"]) if "content_type" in system else NULL,
        symbol(system["content_encoding"]) if "content_encoding" in system else NULL,
    ]
    return described(PROPERTIES, codec.listed(fields))


def _application_properties(properties: Mapping[str, str]) -> bytes:
    if not properties:
        return b""
    return described(APPLICATION_PROPERTIES, mapped([(string(k), string(v)) for k, v in properties.items()]))


class Request(NamedTuple):
    """What a peer asks ``$cbs`` or ``$management``.

    Attributes:
        id: comes back as the answer's correlation id.
        reply_to: the target address of the link that the answer goes to; None: the peer has but one.
    """

    id: object
    reply_to: str | None
    properties: Mapping[object, object]
    body: object


def read_request(data: bytes) -> Request:
    """Raises: AmqpError (decode-error)."""
    sections: dict[object, object] = {}
    reader = Reader(data)
    while reader:
        section = reader.value()
        if not isinstance(section, codec.Described):
            raise AmqpError(DECODE_ERROR, "a message is made of described sections")
        sections[section.descriptor] = section.value
    properties, application = sections.get(PROPERTIES) or [], sections.get(APPLICATION_PROPERTIES) or {}
    if not isinstance(properties, list) or not isinstance(application, dict):
        raise AmqpError(DECODE_ERROR, "properties are a list, application properties a map")
    reply_to = properties[4] if len(properties) > 4 else None
    return Request(
        id=properties[0] if properties else None,
        reply_to=reply_to if isinstance(reply_to, str) else None,
        properties=application,
        body=sections.get(VALUE, sections.get(DATA)),
    )


class Answer(NamedTuple):
    """Status as HTTP has it, and an encoded value."""

    status: int
    description: str
    value: bytes = NULL


def answer(request: Request, answer: Answer) -> bytes:
    """The answer's message, for the one who asked."""
    status = [
        (string("status-code"), codec.integer(answer.status)),
        (string("status-description"), string(answer.description)),
    ]
    correlation = [*[NULL] * 5, codec.message_id(request.id)]
    return b"".join(
        (
            described(PROPERTIES, codec.listed(correlation)),
            described(APPLICATION_PROPERTIES, mapped(status)),
            described(VALUE, answer.value),
        )
    )
