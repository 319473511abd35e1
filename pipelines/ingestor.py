"""The ingestor: IoT Hub -> raw log; what was sent in realtime mode -> live stream.   python pipelines/ingestor.py"""

import asyncio
from typing import Any

from duco_workbench import hops, knowledge, parsing, pulse, runtime
from duco_workbench.flows.ingestor import IngestorSinks, ingestor
from duco_workbench.flows.realtime import realtime
from duco_workbench.flows.validate import validator
from duco_workbench.log import log_sink
from duco_workbench.model import Record
from duco_workbench.ops import Process, Watch
from duco_workbench.parsing.logic import ManifestLogic
from duco_workbench.settings import Settings
from duco_workbench.sinks.handover import HandOver, beside
from duco_workbench.sinks.live import LiveSink
from duco_workbench.sources.checkpoints import checkpoint_store
from duco_workbench.sources.iot_hub import IoTHubSource
from duco_workbench.topics import RAW


class Branch:
    """The realtime branch: its own thread and loop, and what it knows of the catalog. Nothing waits for it."""

    def __init__(self, settings: Settings, watch: Watch) -> None:
        self._watch = watch
        self.records = HandOver[Record]()
        self.logic = ManifestLogic(max_age_days=settings.max_age_days)
        self._settings = settings
        self._dropped_before, self._live = 0, LiveSink(settings.live_url)

    @property
    def dropped(self) -> int:
        return self.records.dropped + self._dropped_before + self._live.dropped

    @property
    def trouble(self) -> str | None:
        return self._live.trouble

    async def run(self) -> None:
        """Until ``records`` is closed."""
        parsing.warm_up()
        self._dropped_before += self._live.dropped
        live = self._live = LiveSink(self._settings.live_url)  # it belongs to this loop
        validate = validator(self._settings.max_age_days)
        stop = runtime.Stop()  # of this loop
        ending = asyncio.create_task(self._stop_at_end(stop))
        async with knowledge.kept(self.logic, self._settings.meta_url, stop):
            source = self._watch.source(self.records.source, lambda record: record)
            await runtime.run_flow(source, lambda records: realtime(records, validate, self.logic, live), (live,), stop)
        ending.cancel()

    async def _stop_at_end(self, stop: runtime.Stop) -> None:
        """The source ends by itself, but who still waits for the catalog must hear of it too."""
        while not self.records.ended:
            await asyncio.sleep(0.25)
        stop.set()


async def work(stop: runtime.Stop) -> None:
    settings = Settings.load()
    process = Process("ingestor", settings)
    checkpoints = checkpoint_store(settings.hub_checkpoints, settings.state, settings.instance)
    hub = IoTHubSource(settings.hub_events, settings.hub_group, checkpoints, settings.tenant, settings.hub_ca)
    watch = process.watch("ingestor", lag=hub.lag)
    branch = Branch(settings, process.watch("realtime", vital=False))
    to = watch.sinks(IngestorSinks(log_sink(settings.log, RAW), branch.records))
    process.check(lambda: hub.trouble)
    process.note(lambda: branch.trouble)
    process.dropped("realtime", lambda: branch.dropped)
    process.figure("catalog_revision", "What the realtime branch decodes by.", lambda: branch.logic.knowledge.revision)
    source = hops.Noted(hub, hops.HopNotes(settings.state, "raw"), lambda record: record)

    def facts() -> dict[str, Any]:
        revision = branch.logic.knowledge.revision
        return {"revision": revision, **hub.facts(), "realtime_dropped": branch.dropped}

    async with (
        process.serving(),
        pulse.beating("ingestor", settings.state, facts),
        beside("the realtime branch", branch.run),
    ):
        await runtime.run_flow(
            watch.source(source, lambda record: record),
            lambda records: ingestor(records, to),
            (to.raw_log, to.realtime),
            stop,
        )


if __name__ == "__main__":
    runtime.slim()
    runtime.main(work)
