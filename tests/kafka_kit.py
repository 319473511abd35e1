"""The doors of the tests' Kafka besides the plain one: with TLS, one asks for a certificate, one for a password."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from duco_workbench.testing import free_port

USER, PASSWORD = "duco", "a secret"
SCRAM = {"SCRAM-SHA-256": "a second secret", "SCRAM-SHA-512": "a third"}


@dataclass
class Doors:
    """Certificates in ``folder``: ``ca.pem``, the broker's, and ``client.pem`` with its key."""

    folder: Path
    certificate: int = field(default_factory=free_port)
    password: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(self.folder / "ca.pem")
        for name in ("broker", "client"):
            made = ca.issue_cert("127.0.0.1", common_name=name)
            (self.folder / f"{name}.pem").write_bytes(_pkcs8(made) + made.cert_chain_pems[0].bytes())

    def properties(self) -> dict[str, str]:
        """Of the broker."""
        modules = "org.apache.kafka.common.security"
        logins = {"PLAIN": f'{modules}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'}
        logins |= dict.fromkeys(SCRAM, f"{modules}.scram.ScramLoginModule required;")
        return {
            "listeners": f"TLS://127.0.0.1:{self.certificate},SASL://127.0.0.1:{self.password}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,SASL:SASL_SSL",
            "listener.name.tls.ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.folder / "ca.pem"),
            "sasl.enabled.mechanisms": ",".join(logins),
            **{f"listener.name.sasl.{way.lower()}.sasl.jaas.config": login for way, login in logins.items()},
        }

    def scram(self) -> list[str]:
        """The user's other passwords, which never go over the wire."""
        return [f"{way}=[name={USER},password={password}]" for way, password in SCRAM.items()]


def _pkcs8(made: trustme.LeafCert) -> bytes:
    """Java reads no other form."""
    key = load_pem_private_key(made.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
