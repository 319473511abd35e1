"""Who the hub is: its certificate authority, its server certificate and its service key, made at the first start.

What clients get of it is what they get of Azure: a connection string, and the PEM of the authority that signed.
"""

from __future__ import annotations

import base64
import os
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509

from ...errors import ConfigError

REST_PORT, MQTT_PORT, AMQP_PORT = 8443, 8883, 5671
REST_POLICY, EVENTS_POLICY = "iothubowner", "service"
HUB_NAME = "duco-hub"  # of the Event Hubs-compatible endpoint


@dataclass(frozen=True, slots=True)
class Identity:
    """What :func:`prepare` made or found.

    Attributes:
        folder: where all of the hub's state is.
        ca: the authority's certificate (PEM): what clients trust.
        server: the server's key and certificate chain (PEM), readable by its owner only.
        key: the service key, base64.
    """

    folder: Path
    address: str
    ca: Path
    server: Path
    key: str
    rest_port: int = REST_PORT

    @property
    def hub(self) -> str:
        """The service connection string: registry, twins, methods."""
        host = f"{self.address}:{self.rest_port}"
        return f"HostName={host};SharedAccessKeyName={REST_POLICY};SharedAccessKey={self.key}"

    @property
    def hub_events(self) -> str:
        """The Event Hubs-compatible connection string."""
        policy = f"SharedAccessKeyName={EVENTS_POLICY};SharedAccessKey={self.key}"
        return f"Endpoint=sb://{self.address}/;{policy};EntityPath={HUB_NAME}"

    def device(self, device_id: str, key: str) -> str:
        """A device's connection string."""
        return f"HostName={self.address};DeviceId={device_id};SharedAccessKey={key}"

    def tls(self) -> ssl.SSLContext:
        """The server's side of TLS 1.2 and newer."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.server)
        return context


def prepare(folder: Path, address: str, rest_port: int = REST_PORT) -> Identity:
    """Make what is missing in ``folder``; what is there stays.

    Another address gets a certificate by the same authority: clients go on trusting it.

    Raises: ConfigError when the folder or a file in it cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        authority = _authority(folder)
        if not _covers(folder, authority, address):
            names = (address, "localhost") if address.startswith("127.") else (address,)
            certificate = authority.issue_cert(*names, common_name=address, organization_name="DUCO Workbench")
            _write(folder / "server.pem", certificate.private_key_and_cert_chain_pem.bytes())
        if not (folder / "service.key").exists():
            _write(folder / "service.key", base64.b64encode(secrets.token_bytes(32)))
        key = (folder / "service.key").read_text().strip()
    except OSError as error:
        raise ConfigError(f"the hub's folder {folder} cannot be used: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"a certificate in {folder} cannot be read ({error}); delete it to get new ones") from None
    return Identity(folder, address, folder / "ca.pem", folder / "server.pem", key, rest_port)


def _authority(folder: Path) -> trustme.CA:
    certificate, key = folder / "ca.pem", folder / "ca.key"
    if certificate.exists() and key.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    authority = trustme.CA(organization_name="DUCO Workbench", organization_unit_name="local IoT Hub")
    _write(key, authority.private_key_pem.bytes())  # first: a certificate without its key would be of no use
    _write(certificate, authority.cert_pem.bytes(), 0o644)
    return authority


def _covers(folder: Path, authority: trustme.CA, address: str) -> bool:
    """Whether the server certificate is there, by this authority, and for this address."""
    path = folder / "server.pem"
    if not path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    signer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    try:
        certificate.verify_directly_issued_by(signer)
    except Exception:  # InvalidSignature, or ValueError where it names another issuer
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return address in {str(name.value) for name in names}


def _write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """All of it or nothing, and never readable by others in between."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    draft.replace(path)
