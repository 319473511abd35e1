"""Who may connect: a CONNECT against the registry, as IoT Hub judges it. Pure but for the clock of the token check."""

from __future__ import annotations

from typing import NamedTuple

from ...iothub.sas import check_token, token_fields
from .mqtt import Answer, Connect
from .registry import Device, Registry

FAR_FUTURE = 1 << 40  # a token may name any number; the loop's timers take this one


class Admission(NamedTuple):
    device: Device
    expires: float  # of the token, seconds since 1970


class NotAdmitted(Exception):
    """Refused, with the answer that goes back and the sentence for the hub's log."""

    def __init__(self, answer: Answer, sentence: str) -> None:
        super().__init__(sentence)
        self.answer = answer


def admit(connect: Connect, registry: Registry) -> Admission:
    """The device a CONNECT is of: ``{host}/{device}/?api-version=…`` with a token for ``{host}/devices/{device}``.

    Any host that the device signed for will do: behind a gateway it is not the address of this hub.

    Raises: NotAdmitted.
    """
    host, _, rest = connect.username.partition("/")
    if not host or rest.split("/")[0] != connect.client_id:
        name = connect.username[:80]
        raise NotAdmitted(Answer.BAD_CREDENTIALS, f"the user name {name!r} is not host/device, or of another client id")
    device = registry.find(connect.client_id)
    if device is None:
        raise NotAdmitted(Answer.NOT_AUTHORIZED, "no such device; `duco hub devices add` makes one")
    if not device.enabled:
        raise NotAdmitted(Answer.NOT_AUTHORIZED, "the device is disabled")
    reasons = [check_token(connect.password, f"{host}/devices/{device.device_id}", key) for key in device.keys]
    if None not in reasons:
        raise NotAdmitted(Answer.NOT_AUTHORIZED, f"its token is refused: {reasons[0]}")
    return Admission(device, float(min(int(token_fields(connect.password)["se"]), FAR_FUTURE)))
