"""A real Apache Kafka of one node (KRaft) on loopback, for tests and for who tries the log on Kafka.

::

    python -m duco_workbench.local.kafka [--port 9092] [--folder var/kafka]

Its classes come from Maven Central into the virtual environment: ``make kafka`` fetches them (see kafka/pom.xml).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from ..errors import ConfigError, DucoError, ServiceError

JARS = Path(sys.prefix) / "kafka"
START_S = 60  # a broker is up after 3 s; a busy machine gets more

# One of everything: what a cluster keeps on three brokers. No group waits for more readers before it starts, and no
# topic comes into being because somebody asked for it.
_PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "auto.create.topics.enable": "false",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "2000",  # so long a broker that was killed may not come back
}
_JAVA = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


class Broker:
    """One broker process on a folder of its own; stopped or killed, it starts again with all it has acknowledged."""

    def __init__(
        self,
        folder: Path,
        port: int,
        controller_port: int,
        extra: Mapping[str, str] | None = None,
        scram: Sequence[str] = (),
    ) -> None:
        """``extra``: more server properties; ``listeners`` in it are added to the plain one. ``scram``: who may come in
        by a password, from the broker's first start on, e.g. ``SCRAM-SHA-256=[name=duco,password=secret]``.
        """
        self.folder, self.port = folder.resolve(), port
        self.address = f"127.0.0.1:{port}"
        self.url = f"kafka://{self.address}"
        self._process: subprocess.Popen[bytes] | None = None
        more = dict(extra or {})
        listeners = ",".join(part for part in (f"PLAINTEXT://{self.address}", more.pop("listeners", "")) if part)
        controller = f"127.0.0.1:{controller_port}"
        self._properties = {
            **_PROPERTIES,
            "listeners": f"{listeners},CONTROLLER://{controller}",
            "advertised.listeners": listeners,
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self.folder / "data"),
            **more,
        }
        self._scram = [word for user in scram for word in ("--add-scram", user)]

    def start(self) -> None:
        """Returns when it answers. Raises: ConfigError (no Java, no classes), ServiceError (it does not come up)."""
        _check_installed()
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in self._properties.items()))
        log = (self.folder / "kafka.log").open("ab")
        with log:
            if not (self.folder / "data" / "meta.properties").exists():
                self._format(config, log)
            self._process = subprocess.Popen(_java("kafka.Kafka", str(config)), stdout=log, stderr=log)
        self._wait_until_it_answers()

    def _format(self, config: Path, log: IO[bytes]) -> None:
        """Its folder for data. One id in 64 begins with a dash, so it is joined to the word it belongs to."""
        words = ["format", f"--cluster-id={_new_id()}", "-c", str(config), *self._scram]
        if subprocess.run(_java("kafka.tools.StorageTool", *words), stdout=log, stderr=log).returncode:
            raise ServiceError(f"Kafka does not take its settings; its log: {self.folder / 'kafka.log'}")

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.is_running():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.05)
        raise ServiceError(f"Kafka does not come up on {self.address}; its log: {self.folder / 'kafka.log'}")

    @property
    def pid(self) -> int:
        """0 while it does not run."""
        return self._process.pid if self._process and self.is_running() else 0

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self) -> int:
        """Until the process ends; its exit code."""
        return self._process.wait() if self._process else 0

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def kill(self) -> None:
        """As if the machine had been switched off, but for what its disk cache holds."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)


def _java(main: str, *arguments: str) -> list[str]:
    return ["java", *_JAVA, "-cp", f"{JARS}/*", main, *arguments]


def _new_id() -> str:
    """A cluster's id as Kafka writes them: 22 characters of URL-safe base64."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _check_installed() -> None:
    if shutil.which("java") is None:
        raise ConfigError("Kafka needs Java 17 or newer on the path; `make kafka` installs it on Debian")
    if not any(JARS.glob("kafka_*.jar")):
        raise ConfigError(f"there is no Kafka in {JARS}; `make kafka` fetches it")


def main() -> None:
    """In the foreground until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make kafka", description="a Kafka broker on loopback")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--folder", type=Path, default=Path("var/kafka"))
    arguments = parser.parse_args()
    broker = Broker(arguments.folder, arguments.port, arguments.port + 1)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        broker.start()
        print(f"{broker.url}   (Ctrl-C stops it; `duco up --log {broker.url}` runs the stack on it)", flush=True)
        sys.exit(broker.wait())
    except KeyboardInterrupt:
        broker.stop()
    except DucoError as error:
        sys.exit(f"duco: {error}")


if __name__ == "__main__":
    main()
