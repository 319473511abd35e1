"""The two nodes that answer requests: ``$cbs`` takes tokens, ``$management`` tells about the hub and its partitions."""

from __future__ import annotations

from .codec import boolean, integer, long, mapped, string, strings, timestamp
from .messages import Answer, Request
from .nodes import CBS, Endpoint, Grants, path_of
from .positions import end_of

EVENT_HUB, PARTITION = "com.microsoft:eventhub", "com.microsoft:partition"


async def handle(endpoint: Endpoint, grants: Grants, service: str, request: Request) -> Answer:
    """``service``: ``$cbs`` or ``$management``."""
    if service == CBS:
        return _put_token(endpoint, grants, request)
    asked = {name: request.properties.get(name) for name in ("operation", "type", "name", "partition")}
    if asked["operation"] != "READ" or asked["type"] not in (EVENT_HUB, PARTITION):
        return Answer(501, f"READ of {EVENT_HUB} or {PARTITION} is understood, not {asked}")
    if str(asked["name"]).lower() != endpoint.name.lower():
        return _not_found(endpoint, str(asked["name"]))
    if asked["type"] == EVENT_HUB:
        return _event_hub(endpoint)
    return await _partition(endpoint, str(asked["partition"]))


def _put_token(endpoint: Endpoint, grants: Grants, request: Request) -> Answer:
    operation, audience, token = request.properties.get("operation"), request.properties.get("name"), request.body
    if isinstance(token, bytes):
        token = token.decode("utf-8", "replace")
    if operation != "put-token" or not isinstance(audience, str) or not isinstance(token, str):
        return Answer(400, "a put-token with a name and a token in the body is understood")
    if path_of(audience)[:1] not in ((), (endpoint.name.lower(),)):
        return _not_found(endpoint, audience)
    refusal = grants.put(audience, token)
    return Answer(401, f"The token for {audience} is refused: {refusal}") if refusal else Answer(202, "Accepted")


def _not_found(endpoint: Endpoint, entity: str) -> Answer:
    return Answer(404, f"The messaging entity '{entity}' could not be found: this is '{endpoint.name}'.")


def _event_hub(endpoint: Endpoint) -> Answer:
    ids = [str(partition) for partition in range(endpoint.journal.partitions)]
    pairs = [
        (string("name"), string(endpoint.name)),
        (string("type"), string(EVENT_HUB)),
        (string("created_at"), timestamp(0)),
        (string("partition_count"), integer(len(ids))),
        (string("partition_ids"), strings(ids)),
    ]
    return Answer(200, "OK", mapped(pairs))


async def _partition(endpoint: Endpoint, text: str) -> Answer:
    if text not in map(str, range(endpoint.journal.partitions)):
        return Answer(404, f"There is no partition {text!r} of 0 to {endpoint.journal.partitions - 1}.")
    first, _ = endpoint.journal.bounds(int(text))
    last, enqueued = await end_of(endpoint.journal, int(text))
    pairs = [
        (string("name"), string(endpoint.name)),
        (string("type"), string(PARTITION)),
        (string("partition"), string(text)),
        (string("begin_sequence_number"), long(first)),
        (string("last_enqueued_sequence_number"), long(last)),
        (string("last_enqueued_offset"), string(str(last))),
        (string("last_enqueued_time_utc"), timestamp(enqueued // 1000)),
        (string("is_partition_empty"), boolean(last < first)),
    ]
    return Answer(200, "OK", mapped(pairs))
