"""What went wrong between the agent and the hub, in words that say what to do.

The hub answers "unauthorized" to a wrong key, an unknown device and a token that has expired, and nothing at all to
much else; what the agent knows besides (its clock, the certificate, how long the connection lasted) narrows it down.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

from azure.iot.device import exceptions as azure

_NOT_YET_VALID, _EXPIRED, _WRONG_NAME = 9, 10, {62, 63, 64}  # OpenSSL's X509_V_ERR_…


@dataclass(frozen=True, slots=True)
class Trouble:
    """``kind`` is ``key``, ``clock``, ``ca``, ``away``, ``busy``, ``silent``, ``closed``, ``rival`` or ``client``."""

    kind: str
    text: str

    def __str__(self) -> str:
        return self.text


class LinkLost(Exception):
    """The connection is of no use any more, for the reason given."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.text)
        self.trouble = trouble


def diagnose(error: BaseException, host: str, device: str, clock_source: str) -> Trouble:
    """What an exception of azure-iot-device means; ``clock_source``: of the agent's clock."""
    for cause in _chain(error):
        if trouble := _of_tls(cause, host) or _of_network(cause, host):
            return trouble
    if any(isinstance(cause, azure.CredentialError) for cause in _chain(error)):
        return _refused(host, device, clock_source)
    if isinstance(error, azure.ConnectionFailedError):
        return Trouble("busy", f"{host} takes no connections for now: it is throttling, or being looked after")
    if isinstance(error, azure.OperationTimeout | TimeoutError):
        return silent(host)
    if isinstance(error, azure.ConnectionDroppedError | azure.NoConnectionError | azure.OperationCancelled):
        return Trouble("closed", f"{host} closed the connection")
    return Trouble("client", f"the connection to {host} failed: {error} ({error.__cause__ or type(error).__name__})")


def silent(host: str) -> Trouble:
    return Trouble("silent", f"{host} does not answer any more: the link swallows what is sent, or the hub throttles")


def rival(host: str, device: str) -> Trouble:
    return Trouble(
        "rival",
        f"{host} ends each connection shortly after it began: another agent uses the identity of {device!r}; "
        "stop one of the two, or give it a device of its own",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _of_tls(error: BaseException, host: str) -> Trouble | None:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return Trouble("closed", f"TLS with {host} failed: {error}") if isinstance(error, ssl.SSLError) else None
    if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
        return Trouble(
            "clock",
            f"{host}'s certificate is not valid now ({error.verify_message}), and now is {_today()} by the system's "
            "clock: set the clock, or renew the certificate",
        )
    what = "names another host" if error.verify_code in _WRONG_NAME else "is not signed by the CA of hub.ca_file"
    return Trouble("ca", f"{host}'s certificate {what} ({error.verify_message}); is hub.ca_file the right one?")


def _of_network(error: BaseException, host: str) -> Trouble | None:
    if isinstance(error, socket.gaierror):
        return Trouble("away", f"the name {host} is not known: no network, no DNS, or a wrong HostName")
    if isinstance(error, ConnectionRefusedError):
        return Trouble("away", f"nobody listens on {host}:8883")
    if isinstance(error, TimeoutError) and error.errno:
        return Trouble("away", f"{host}:8883 does not answer")
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return Trouble("closed", f"{host} closed the connection")
    if isinstance(error, OSError) and error.errno:
        return Trouble("away", f"{host}:8883 cannot be reached: {error.strerror or error}")
    return None


def _refused(host: str, device: str, clock_source: str) -> Trouble:
    clock = (
        "" if clock_source in ("ntp", "gnss") else f", or the clock is wrong (it is {_today()}) and the token expired"
    )
    return Trouble(
        "key", f"{host} refuses {device!r}: the key is wrong, or the device is unknown there or disabled{clock}"
    )


def _today() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
