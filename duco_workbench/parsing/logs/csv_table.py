"""Tables of frames (``.csv``), streamed: python-can's own, and the same with more columns in any order.

=================  ============================================  ======================
column             content                                       without it
=================  ============================================  ======================
timestamp          seconds since 1970 UTC, or since some start   (needed)
arbitration_id     hex, with or without 0x                       (needed)
data               base64, as python-can writes it               (it or data_hex)
data_hex           hex, blanks between bytes allowed             (it or data)
dlc                length of the data in bytes                   as many as there are
extended, remote   0 or 1                                        0
error, tx          0 or 1                                        0
fd, brs, esi       0 or 1                                        fd: data is longer than 8
channel            number of the bus, 0 is can0                  0
=================  ============================================  ======================
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import ConfigError
from ...model import FrameBatch
from . import csv_kernel as code
from .csv_kernel import ORDER, parse_csv
from .files import Source
from .rows import numbered
from .text import Lines, read_lines

COLUMNS = {
    "timestamp": code.TIME,
    "arbitration_id": code.IDENTIFIER,
    "extended": code.IS_EXTENDED,
    "remote": code.IS_REMOTE,
    "error": code.IS_ERROR,
    "fd": code.IS_FD,
    "brs": code.BRS,
    "esi": code.ESI,
    "tx": code.IS_TX,
    "channel": code.CHANNEL,
    "dlc": code.DLC,
    "data": code.BASE64,
    "data_hex": code.DATA_HEX,
}


def read_csv(source: Source) -> Iterator[FrameBatch]:
    """Batches of up to 65,536 frames. Lines that are none are counted, skipped and said once.

    Raises: ConfigError when the first line does not name the columns above.
    """
    return read_lines(_Parser(source))


class _Parser(Lines):
    what = "CSV row"

    def __init__(self, source: Source) -> None:
        super().__init__(source, parse_csv, numbered(0))

    def aside(self, line: str) -> bool:
        names = [name.strip().lower() for name in line.split(",")]
        unknown = [name for name in names if name not in COLUMNS]
        missing = {"timestamp", "arbitration_id"} - {*names} or {"data", "data_hex"}.isdisjoint(names)
        if unknown or missing or len({*names}) < len(names):
            raise ConfigError(
                f"{self.source.path.name} begins with {line[:60]!r}; a table of frames names its columns there: "
                f"{', '.join(COLUMNS)} (the first two, and one of the last two, are needed)."
            )
        self.state[ORDER : ORDER + len(names) + 1] = [*(COLUMNS[name] for name in names), code.END]
        return True
