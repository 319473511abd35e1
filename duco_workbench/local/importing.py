"""Import: log files with their own times onto the raw log, as the ingestor would, until they can be queried."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import pulse
from ..errors import ConfigError, ServiceError
from ..log import log_sink
from ..runtime import Stop, run_flow
from ..settings import Settings
from ..settle import settled
from ..sources.log_file import LogFileSource
from ..topics import RAW

PATIENCE_S = 60  # for a processor to learn of a new manifest


@dataclass(slots=True)
class Report:
    """What was read; a sentence for each file that was damaged, and for each that could not be read at all; the zone
    that local times were placed by, of each file that has such."""

    files: int = 0
    frames: int = 0
    warnings: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    zones: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Importer:
    """``on_progress(step, share)`` is told "reading NAME" and "storing" with a share of 0..1."""

    settings: Settings
    chassis_id: str
    start: int | None = None
    tz: str | None = None
    on_progress: Callable[[str, float], None] = lambda step, share: None

    async def run(self, paths: Sequence[Path], revision: int, stop: Stop) -> Report:
        """Returns when every row is in ClickHouse. A file that cannot be read stops no other.

        Raises: ServiceError (the stack is away), ConfigError (stopped before the end).
        """
        await self._processor_knows(revision)
        report = Report()
        for path in paths:
            await self._feed(path, report, stop)
            if stop:
                raise ConfigError("stopped; import the same files again to finish: what is stored is not stored twice")
        await settled(self.settings.log, self._storing)
        self.on_progress("storing", 1.0)
        return report

    def _storing(self, share: float) -> bool:
        self.on_progress("storing", share)
        return True

    async def _processor_knows(self, revision: int) -> None:
        """Messages must not reach a processor that has not heard of their machine yet."""
        for _ in range(PATIENCE_S * 5):
            beat = await pulse.read("processor", self.settings.state)
            if beat and beat["revision"] >= revision:
                return
            await asyncio.sleep(0.2)
        raise ServiceError("no processor is running that knows the machine; see `duco status`")

    def _source(self, path: Path) -> LogFileSource:
        return LogFileSource(
            path,
            self.settings.tenant,
            self.chassis_id,
            start=self.start,
            tz=self.tz,
            on_progress=lambda share: self.on_progress(f"reading {path.name}", share),
        )

    async def _feed(self, path: Path, report: Report, stop: Stop) -> None:
        settings = self.settings
        try:
            source = self._source(path)
        except ConfigError as error:
            report.refused.append(str(error))
            return
        raw = log_sink(settings.log, RAW)
        await run_flow(source, lambda records: records.sink(raw.write), (raw,), stop)
        report.files, report.frames = report.files + 1, report.frames + source.frames
        report.warnings += source.log.warnings
        if source.log.zone:
            report.zones[str(path)] = source.log.zone
