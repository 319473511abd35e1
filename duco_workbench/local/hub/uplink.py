"""What a device publishes, by topic: messages into the journal, twin requests, answers of direct methods.

https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from . import mqtt
from .connection import TWIN_ANSWERS, Connection, Done, Ended, MethodAnswer
from .enrichment import enrich
from .faults import Faults
from .journal import Journal
from .refusals import Refusal
from .registry import Device, Registry

TWIN_GET = "$iothub/twin/GET/"
REPORTED = "$iothub/twin/PATCH/properties/reported/"
METHOD_ANSWER = "$iothub/methods/res/"

SYSTEM = {
    "$.mid": "message_id",
    "$.cid": "correlation_id",
    "$.uid": "user_id",
    "$.ct": "content_type",
    "$.ce": "content_encoding",
}


class Uplink:
    """Args: rules: message enrichments, e.g. ``{"tenant": "$twin.tags.tenant"}``."""

    def __init__(self, registry: Registry, journal: Journal, faults: Faults, rules: Mapping[str, str]) -> None:
        self._registry, self._journal, self._faults, self._rules = registry, journal, faults, rules

    async def __call__(self, connection: Connection, publish: mqtt.Publish) -> Done:
        """Raises: Ended on a topic that IoT Hub does not know, as the real one ends the connection."""
        topic, events = publish.topic, f"devices/{connection.device.device_id}/messages/events"
        if topic == events or topic.startswith(events + "/"):
            return await self._message(connection.device, topic[len(events) :].strip("/"), publish)
        if topic.startswith(TWIN_GET):
            self._twin(connection, _request_id(topic))
        elif topic.startswith(REPORTED):
            await self._report(connection, _request_id(topic), publish.payload)
        elif topic.startswith(METHOD_ANSWER):
            _answer(connection, topic, publish.payload)
        else:
            raise Ended(f"it published on {topic[:120]!r}, a topic that IoT Hub does not have")
        return _nothing()

    async def _message(self, device: Device, bag: str, publish: mqtt.Publish) -> Done:
        await self._faults.slow_down(device.device_id)
        system, properties = split_bag(bag)
        if publish.retain:
            properties["mqtt-retain"] = "true"  # as the real one marks it
        properties = enrich(properties, self._rules, device)
        return self._journal.append(device.device_id, device.generation, system, properties, publish.payload)

    def _twin(self, connection: Connection, request_id: str) -> None:
        device = connection.device
        desired = {**device.desired, "$version": device.desired_version}
        reported = {**device.reported, "$version": device.reported_version}
        _respond(connection, 200, request_id, {"desired": desired, "reported": reported})

    async def _report(self, connection: Connection, request_id: str, payload: bytes) -> None:
        try:
            patch = msgspec.json.decode(payload, type=dict[str, Any])
            version = await self._registry.report(connection.device.device_id, patch)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _respond(connection, 400, request_id, {"message": f"the patch is no JSON object: {error}"})
        except Refusal as refusal:
            _respond(connection, refusal.status, request_id, refusal.body())
        else:
            _respond(connection, 204, f"{request_id}&$version={version}", None)


def split_bag(bag: str) -> tuple[dict[str, str], dict[str, str]]:
    """System and application properties of a topic's property bag, ``%24.mid=…&name=value``."""
    system: dict[str, str] = {}
    properties: dict[str, str] = {}
    for pair in bag.split("&") if bag else []:
        name, _, value = pair.partition("=")
        name, value = unquote(name), unquote(value)
        if name in SYSTEM:
            system[SYSTEM[name]] = value
        elif name and not name.startswith("$."):  # others of the system do not reach the endpoint
            properties[name] = value
    return system, properties


def _request_id(topic: str) -> str:
    """As it stands in the topic (``?$rid=…``), to be given back. Raises: Ended."""
    fields = dict(part.partition("=")[::2] for part in topic.partition("?")[2].split("&"))
    if "$rid" not in fields:
        raise Ended(f"it published on {topic[:120]!r} without a request id ($rid)")
    return fields["$rid"]


def _respond(connection: Connection, status: int, request_id: str, body: dict[str, Any] | None) -> None:
    if connection.subscribed(TWIN_ANSWERS):
        payload = b"" if body is None else msgspec.json.encode(body)
        connection.send(mqtt.publish(f"$iothub/twin/res/{status}/?$rid={request_id}", payload))


def _answer(connection: Connection, topic: str, payload: bytes) -> None:
    """Of a direct method; one that came too late is passed over."""
    status = topic.removeprefix(METHOD_ANSWER).partition("/")[0]
    waiting = connection.answers.pop(unquote(_request_id(topic)), None)
    if waiting is None or waiting.done():
        return
    try:
        waiting.set_result(MethodAnswer(int(status), msgspec.json.decode(payload) if payload else None))
    except (ValueError, RecursionError) as error:  # no JSON, or no number
        waiting.set_exception(Ended(str(error)))


def _nothing() -> Done:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
