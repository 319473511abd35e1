"""The processor: raw log -> ClickHouse raw archive, parsed log, dead letters.   python pipelines/processor.py"""

import asyncio
import logging

from duco_workbench import hops, knowledge, parsing, pulse, runtime
from duco_workbench.flows.processor import ProcessorSinks, processor
from duco_workbench.flows.validate import validator
from duco_workbench.log import lag, log_sink, log_source
from duco_workbench.ops import Process
from duco_workbench.ops.logs import Complaint
from duco_workbench.parsing.logic import ManifestLogic
from duco_workbench.settings import Settings
from duco_workbench.sinks.clickhouse import RawArchive
from duco_workbench.topics import DEAD_LETTERS, PARSED, RAW

log = logging.getLogger("processor")


async def work(stop: runtime.Stop) -> None:
    settings = Settings.load()
    process = Process("processor", settings)
    watch = process.watch("processor", lag=lambda: lag(settings.log, RAW, "processor"))
    logic = ManifestLogic(max_age_days=settings.max_age_days)
    validate = validator(settings.max_age_days)
    to = watch.sinks(
        ProcessorSinks(
            raw_archive=RawArchive(settings.store_url),
            parsed_topic=log_sink(settings.log, PARSED),
            dead_letters=log_sink(settings.log, DEAD_LETTERS),
        )
    )
    source = hops.Noted(
        log_source(settings.log, RAW, "processor"),
        hops.HopNotes(settings.state, "parsed"),
        lambda record: record,
    )
    catalog = Complaint(log)
    process.check(lambda: knowledge.unread(logic, settings.meta_url))
    process.note(lambda: catalog.now)
    process.figure("catalog_revision", "What it decodes by.", lambda: logic.knowledge.revision)
    async with process.serving():
        await asyncio.to_thread(parsing.warm_up)  # minutes when it compiles, and /health says so
        async with (
            knowledge.kept(logic, settings.meta_url, stop, catalog),
            pulse.beating("processor", settings.state, lambda: {"revision": logic.knowledge.revision}),
        ):
            await runtime.run_flow(
                watch.source(source, lambda record: record),
                lambda records: processor(records, validate, logic, to),
                (to.raw_archive, to.parsed_topic, to.dead_letters),
                stop,
            )


if __name__ == "__main__":
    runtime.slim()
    runtime.main(work)
