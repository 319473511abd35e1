"""Where the machine is, from a gpsd: a collector that speaks its JSON protocol (https://gpsd.io/gpsd_json.html)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import msgspec

from duco_workbench.errors import ServiceError
from duco_workbench.model import SECOND

from .drafts import Draft, Emit
from .gnss import OnTime, Pace, position_of
from .peers import Backoff, Telling, in_words, now

WATCH = b'?WATCH={"enable":true,"json":true};\n'
LONGEST = 1 << 16  # bytes of a line; gpsd's own are at most 10,240
MOST_GARBAGE = 20  # lines in a row that are no report: that is no gpsd
CONNECT = 5.0  # seconds

SATS_FRESH = 30 * SECOND  # microseconds
TWO_D, THREE_D = 2, 3  # gpsd's modes; below there is no fix


class _Report(msgspec.Struct, rename={"kind": "class"}):
    """What we use of TPV (place, m, m/s, degrees) and SKY (satellites)."""

    kind: str
    mode: int = 0
    time: datetime | None = None
    lat: float | None = None
    lon: float | None = None
    alt: float | None = None  # before gpsd 3.20
    alt_msl: float | None = msgspec.field(default=None, name="altMSL")
    speed: float | None = None
    track: float | None = None
    used: int | None = msgspec.field(default=None, name="uSat")
    satellites: list[dict[str, object]] = []


class Gpsd:
    """A Collector; while gpsd is away it is tried again, which is said once.

    Args:
        interval_s: seconds between two positions, at least.
        on_time: told whenever gpsd tells the time of the satellites.
        clock: microseconds UTC.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 2947,
        interval_s: float = 1.0,
        on_time: OnTime | None = None,
        *,
        clock: Callable[[], int] = now,
    ) -> None:
        self._host, self._port, self._on_time, self._clock = host, port, on_time, clock
        self._pace, self._decoder = Pace(interval_s), msgspec.json.Decoder(_Report)
        self._sats: tuple[int, int] | None = None  # when told (microseconds), and how many are used

    async def run(self, emit: Emit) -> None:
        where, telling, backoff = f"gpsd at {self._host}:{self._port}", Telling("gnss", emit, self._clock), Backoff()
        while True:
            try:
                async with self._connected() as reader:
                    backoff.begin()
                    await self._listen(reader, emit, lambda: telling.info(f"{where} is there"))
            except (OSError, ValueError, ServiceError) as error:  # ValueError: a line without end
                telling.warning(f"{where} is away: {in_words(error)}; it is tried again until it is there")
            await asyncio.sleep(backoff.pause())

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncio.StreamReader]:
        async with asyncio.timeout(CONNECT):
            reader, writer = await asyncio.open_connection(self._host, self._port, limit=LONGEST)
        try:
            writer.write(WATCH)
            yield reader
        finally:
            writer.close()

    async def _listen(self, reader: asyncio.StreamReader, emit: Emit, on_report: Callable[[], None]) -> None:
        """Raises: ServiceError, OSError or ValueError when there is nothing more to hear."""
        garbage = 0
        while line := await reader.readline():
            try:
                report = self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                garbage += 1
                if garbage >= MOST_GARBAGE:
                    raise ServiceError("what answers there is no gpsd") from None
                continue
            garbage = 0
            on_report()
            for draft in self._hear(report):
                emit(draft)
        raise ServiceError("it closed the connection")

    def _hear(self, report: _Report) -> list[Draft]:
        ts = self._clock()
        if report.kind == "SKY":
            used = [s for s in report.satellites if s.get("used")]
            if report.used is not None or report.satellites:
                self._sats = ts, len(used) if report.used is None else report.used
        if report.kind != "TPV" or report.mode < TWO_D:
            return []
        if report.time is not None and report.time.tzinfo is not None and self._on_time is not None:
            self._on_time(round(report.time.timestamp() * SECOND), ts)
        return self._position(report, ts)

    def _position(self, report: _Report, ts: int) -> list[Draft]:
        if report.lat is None or report.lon is None or abs(report.lat) > 90 or abs(report.lon) > 180:
            return []
        if not self._pace.is_due(ts):
            return []
        alt = report.alt if report.alt_msl is None else report.alt_msl
        fields = {
            "lat": report.lat,
            "lon": report.lon,
            "alt": alt if report.mode >= THREE_D else None,
            "speed": None if report.speed is None else report.speed * 3.6,
            "heading": report.track,
            "fix": report.mode,
            "sats": self._sats[1] if self._sats is not None and ts - self._sats[0] <= SATS_FRESH else None,
        }
        return [Draft("vehicle_position", ts, position_of({k: v for k, v in fields.items() if v is not None}))]
