"""The distributor: parsed log and dead letters -> ClickHouse and Redis snapshot.   python pipelines/distributor.py"""

import asyncio

from duco_workbench import hops, pulse, runtime
from duco_workbench.flows.distributor import DistributorSinks, dead_letter_office, distributor
from duco_workbench.log import lag, log_source
from duco_workbench.ops import Process
from duco_workbench.settings import Settings
from duco_workbench.sinks.clickhouse import DeadLetterTable, SampleTable
from duco_workbench.sinks.snapshot import SnapshotSink
from duco_workbench.topics import DEAD_LETTERS, PARSED


async def work(stop: runtime.Stop) -> None:
    settings = Settings.load()
    process = Process("distributor", settings)
    watch = process.watch("distributor", lag=lambda: lag(settings.log, PARSED, "distributor"))
    office = process.watch("dead-letters", lag=lambda: lag(settings.log, DEAD_LETTERS, "distributor"))
    snapshot = SnapshotSink(settings.live_url)
    process.dropped("snapshot", lambda: snapshot.dropped)
    process.note(lambda: snapshot.trouble)
    to = watch.sinks(DistributorSinks(SampleTable(settings.store_url), snapshot, DeadLetterTable(settings.store_url)))
    letters = office.sink("store", DeadLetterTable(settings.store_url))
    source = hops.Noted(
        log_source(settings.log, PARSED, "distributor"),
        hops.HopNotes(settings.state, "distributed"),
        lambda parsed: parsed.record,
    )
    async with process.serving(), pulse.beating("distributor", settings.state):
        await asyncio.gather(
            runtime.run_flow(
                watch.source(source, lambda parsed: parsed.record),
                lambda parsed: distributor(parsed, to),
                (to.store, to.snapshot, to.letters),
                stop,
            ),
            runtime.run_flow(
                office.source(log_source(settings.log, DEAD_LETTERS, "distributor"), lambda letter: letter.record),
                lambda batches: dead_letter_office(batches, letters),
                (letters,),
                stop,
            ),
        )


if __name__ == "__main__":
    runtime.slim()
    runtime.main(work)
