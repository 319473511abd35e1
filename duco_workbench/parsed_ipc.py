"""What messages became, as bytes: an Arrow IPC stream (zstd) with a row for each series of each message.

========  =====================  ==================================================
column    type                   holds
========  =====================  ==================================================
message   int32                  which of the messages, see the metadata
signal    dictionary of strings  ``Message.Signal``
source    dictionary of strings  the bus and, on J1939, the sender: ``can1:03``
unit      dictionary of strings  "" where there is none
ts        list of timestamps     microseconds UTC, of each value
value     list of float64        NaN where there is no number
status    list of int8           numbers of :class:`~duco_workbench.model.Status`
========  =====================  ==================================================

The schema's metadata ``duco`` is JSON: for each message where it came from, its texts, trouble codes and events.
To a reader without our code a value a row is one call away: polars' ``explode("ts", "value", "status")``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import arrow
from .columns import Event, Parsed, Samples, Text
from .model import Dtc
from .names import Names, Table
from .record_headers import headers_of, record_of
from .runs import Runs

_TIMES, _NUMBERS, _STATUSES = (pa.list_(kind) for kind in (pa.timestamp("us", "UTC"), pa.float64(), pa.int8()))
_ORIGINS = b"duco"
# A batch is small: handing its buffers to a thread pool costs more than their compression.
_WRITE = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
_READ = pa.ipc.IpcReadOptions(use_threads=False)


class _Origin(msgspec.Struct):
    """Everything of a message that is not a sample."""

    headers: dict[str, str]
    realtime: bool
    logic_version: int
    texts: list[Text]
    dtcs: list[Dtc]
    events: list[Event]


_origins = msgspec.json.Decoder(list[_Origin])


def to_ipc(items: Sequence[Parsed]) -> bytes:
    """The bytes of at least one message."""
    parts = [item.samples.sorted() for item in items]
    samples = Samples.beside(parts)
    message = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.signal_names) for part in parts])
    starts = samples.runs.starts.astype(np.int32)
    columns = {
        "message": arrow.numbers(message, pa.int32()),
        "signal": _dictionary(samples.signal_names),
        "source": _dictionary(samples.source_names),
        "unit": _dictionary(samples.unit_names),
        "ts": _lists(starts, samples.ts, _TIMES),
        "value": _lists(starts, samples.value, _NUMBERS),
        "status": _lists(starts, samples.status, _STATUSES),
    }
    origins = msgspec.json.encode([_origin(item) for item in items])
    batch = pa.record_batch(columns).replace_schema_metadata({_ORIGINS: origins})
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, batch.schema, options=_WRITE) as writer:
        writer.write_batch(batch)
    return bytes(out.getvalue())


def _origin(item: Parsed) -> _Origin:
    headers, lists = headers_of(item.record), (list(item.texts), list(item.dtcs), list(item.events))
    return _Origin(headers, item.realtime, item.logic_version, *lists)


def _dictionary(names: Names) -> pa.DictionaryArray:
    dictionary, codes = names.compact()
    return arrow.named(codes, dictionary)


def _lists(starts: NDArray[np.int32], values: NDArray[np.generic], kind: pa.DataType) -> pa.ListArray:
    inner = arrow.numbers(values, kind.value_type)
    return pa.Array.from_buffers(kind, len(starts) - 1, [None, pa.py_buffer(starts)], children=[inner])


def from_ipc(body: bytes) -> list[Parsed]:
    """The inverse of :func:`to_ipc`; records come without their bodies."""
    batch = pa.ipc.open_stream(body, options=_READ).read_next_batch()
    origins = _origins.decode(batch.schema.metadata[_ORIGINS])
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    samples = _samples(columns)
    bounds = np.searchsorted(columns["message"].to_numpy(), np.arange(len(origins) + 1)).tolist()
    return [
        Parsed(
            record_of(origin.headers, b""),
            origin.realtime,
            origin.logic_version,
            samples.part(first, end),
            tuple(origin.texts),
            tuple(origin.dtcs),
            tuple(origin.events),
        )
        for origin, first, end in zip(origins, bounds[:-1], bounds[1:], strict=True)
    ]


def _samples(columns: dict[str, pa.Array]) -> Samples:
    starts = columns["ts"].offsets.to_numpy().astype(np.int64)
    ts, value, status = (columns[name].values for name in ("ts", "value", "status"))
    runs = Runs(starts, starts[:-1], ts.view(pa.int64()).to_numpy())
    signals, sources, units = (_names(columns[name]) for name in ("signal", "source", "unit"))
    return Samples(signals, sources, units, runs, None, value.to_numpy(), status.to_numpy().view(np.uint8))


def _names(column: pa.DictionaryArray) -> Names:
    return Names(Table(column.dictionary.to_pylist()), column.indices.to_numpy())
