"""A log that plays as if its buses were there: a frame source with the frames of a file, each when its time comes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import can

from duco_workbench.model import SECOND, FrameBatch, bus_name

from .columns import Columns, batch
from .drafts import OPENING
from .peers import now

MOST = 1 << 14  # frames of one read; the rest comes with the next
DATED = 315_532_800  # seconds, 1980: a log that begins before counts from its own start

_log = logging.getLogger(__name__)


class LogFile:
    """A FrameSource of one or several buses, as the file names them.

    Args:
        name: of this source, and of the bus of a file that names none.
        path: any format of ``can.LogReader`` (.log, .asc, .blf, .trc, .csv, .mf4 …).
        speed: 2.0 plays twice as fast; 0 as fast as it can be read, with the file's own times.
        repeat: begin again, one second after the last frame.
        options: more arguments of ``can.LogReader``.
        clock: microseconds UTC.

    The first frame happens when it is opened. A file that cannot be read (further) is over, and ``state`` says why.
    Frames are what python-can's reader makes of the file; that of candump's logs does not know all error frames.
    """

    dropped = 0

    def __init__(
        self,
        name: str,
        path: str | Path,
        *,
        speed: float = 1.0,
        repeat: bool = False,
        options: Mapping[str, Any] | None = None,
        clock: Callable[[], int] = now,
    ) -> None:
        self.name, self.ended, self.state = name, False, OPENING
        self._path, self._options, self._clock = Path(path), dict(options or {}), clock
        self._speed, self._repeat = speed, repeat and speed > 0
        self._columns, self._channels = Columns(MOST), dict[str, int]()
        self._frames: Iterator[tuple[int, can.Message]] = iter(())
        self._ahead: tuple[int, can.Message] | None = None  # read from the file, and not due yet

    def open(self) -> None:
        self._frames, self.ended, self.state = self._play(self._clock()), False, "up"
        self._ahead = self._next()

    def read(self) -> FrameBatch:
        until = self._clock() if self._speed else 1 << 62
        for _ in range(MOST):
            if self._ahead is None or self._ahead[0] > until:
                break
            ts, message = self._ahead
            self._columns.put(message, ts, self._number(message))
            self._ahead = self._next()
        records = self._columns.take()
        return batch(records, records["arrived"].copy(), tuple(self._channels) or (self.name,))

    def close(self) -> None:
        self._frames, self._ahead, self.ended = iter(()), None, True

    def _number(self, message: can.Message) -> int:
        name = self.name if message.channel is None else bus_name(str(message.channel))
        return self._channels.setdefault(name, len(self._channels))

    def _next(self) -> tuple[int, can.Message] | None:
        try:
            return next(self._frames)
        except StopIteration:
            self.ended, self.state = True, f"{self.name}: {self._path} is over"
        except Exception as error:  # python-can's readers raise whatever a strange file makes them
            self.ended, self.state = True, f"{self.name}: {self._path} cannot be read further: {error}"
            _log.warning(self.state)
        return None

    def _play(self, begin: int) -> Iterator[tuple[int, can.Message]]:
        """Frames and when they happen (microseconds)."""
        while True:
            last = None
            for ts, message in self._once(begin):
                last = ts
                yield ts, message
            if last is None:
                raise ValueError("there is no frame in it")
            if not self._repeat:
                return
            begin = last + SECOND

    def _once(self, begin: int) -> Iterator[tuple[int, can.Message]]:
        origin = None
        with can.LogReader(self._path, **self._options) as reader:
            for message in reader:
                if origin is None:
                    origin = message.timestamp
                    if not self._speed and origin < DATED:
                        raise ValueError("it has no date, so it can only be played from now on; give it a speed")
                if self._speed:
                    yield begin + round((message.timestamp - origin) * SECOND / self._speed), message
                else:
                    yield round(message.timestamp * SECOND), message
