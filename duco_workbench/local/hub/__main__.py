"""``python -m duco_workbench.local.hub FOLDER --address 127.0.0.1``: the local IoT Hub, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from ... import runtime
from ...ops import Process
from ...settings import Settings
from .hub import Hub
from .identity import AMQP_PORT, MQTT_PORT, REST_PORT, prepare

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m duco_workbench.local.hub", description=__doc__)
    parser.add_argument("folder", type=Path, help="where devices, messages, keys and certificates are kept")
    parser.add_argument("--address", default="127.0.0.1", help="where to listen; its certificate is for this name")
    parser.add_argument("--mqtt-port", type=int, default=MQTT_PORT, help="azure-iot-device knows 8883 only")
    parser.add_argument("--rest-port", type=int, default=REST_PORT)
    parser.add_argument("--amqp-port", type=int, default=AMQP_PORT, help="azure-eventhub knows 5671 only")
    options = parser.parse_args()

    async def work(stop: runtime.Stop) -> None:
        process = Process("hub", Settings.load())
        identity = prepare(options.folder.resolve(), options.address, options.rest_port)
        hub = Hub(identity, options.mqtt_port, options.amqp_port)
        process.check(lambda: hub.journal.trouble)
        process.figure("hub_devices", "Devices that are connected.", lambda: len(hub.devices))
        process.figure("hub_messages_total", "Messages taken.", lambda: hub.journal.counts.taken)
        async with hub, process.serving():
            log.info("%s is up; clients trust %s", identity.address, identity.ca)
            await stop.wait()

    runtime.main(work)


if __name__ == "__main__":
    main()
