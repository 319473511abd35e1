"""Records, parsed messages and dead letters as the Arrow tables ClickHouse takes: pure functions, one a table.

Strings that repeat are dictionary-encoded without repeats, and rows are sorted by the table's key: both save the
server the work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import arrow
from ..columns import Parsed, Samples
from ..model import DeadLetter, MessageId, Record
from ..names import Names

MAX_PARTITIONS = 100  # months in one insert; ClickHouse refuses more, on every retry
MAX_EPOCH, MAX_SEQ = 10**17, 10**15  # what is higher is no number that was counted up to
_LAST_TS = 9_214_646_400_000_000  # 2262: what every reader of DateTime64(6) can still hold; microseconds UTC


def raw_rows(records: Sequence[Record]) -> pa.Table:
    """For ``raw_data_cache_store``."""
    return _record_columns(records, sorted(range(len(records)), key=lambda i: _raw_key(records[i])))


def _raw_key(record: Record) -> tuple[Any, ...]:
    return record.tenant, record.chassis_id, record.msg_type, record.ts, record.message_id


def _record_columns(records: Sequence[Record], order: Sequence[int] | None = None) -> pa.Table:
    rows = [records[i] for i in order] if order is not None else records
    return pa.table(
        {
            "tenant": _dictionary([r.tenant for r in rows]),
            "chassis_id": _dictionary([r.chassis_id for r in rows]),
            "msg_type": _dictionary([r.msg_type for r in rows]),
            "message_id": pa.array([r.message_id for r in rows], pa.string()),
            "ts": _times([r.ts for r in rows]),
            "ts_enqueued": _times([r.ts_enqueued for r in rows]),
            "ts_ingested": _times([r.ts_ingested for r in rows]),
            "body": pa.array([r.body for r in rows], pa.binary()),
            "hub_partition": pa.array([r.hub_partition for r in rows], pa.uint32()),
            "hub_sequence": pa.array([r.hub_sequence for r in rows], pa.int64()),
            "v": pa.array([r.v & 0xFFFF for r in rows], pa.uint16()),
        }
    )


def dead_letter_rows(letters: Sequence[DeadLetter]) -> pa.Table:
    """For ``dead_letters``."""
    table = _record_columns([letter.record for letter in letters])
    texts = {
        "letter": [_letter_id(letter.record) for letter in letters],
        "reason": [letter.reason for letter in letters],
        "detail": [letter.detail for letter in letters],
    }
    for name, column in texts.items():
        table = table.append_column(name, pa.array(column, pa.string()))
    return table.append_column("replayed_at", _times([x.record.replay.at if x.record.replay else 0 for x in letters]))


def _letter_id(record: Record) -> str:
    """That of the letter it was replayed for; else the machine's own message id; a body too broken to have one is known
    by its hash, however often it comes.
    """
    if record.replay is not None:
        return record.replay.letter
    is_own = _minted(record.chassis_id, record.message_id)
    return record.message_id if is_own else hashlib.sha256(record.body).hexdigest()[:32]


def _minted(chassis_id: str, message_id: str) -> MessageId | None:
    """None where the id is not the machine's own, to the letter."""
    try:
        minted = MessageId.parse(message_id)
    except ValueError:
        return None
    return minted if minted.chassis_id == chassis_id and str(minted) == message_id else None


def number_of(chassis_id: str, message_id: str) -> MessageId | None:
    """Likewise, and None where it is no number that a machine counts up to."""
    minted = _minted(chassis_id, message_id)
    return minted if minted and 0 < minted.epoch < MAX_EPOCH and 0 < minted.seq < MAX_SEQ else None


def message_rows(parsed: Sequence[Parsed]) -> pa.Table:
    """For ``parsed_messages``: those that are numbered."""
    origins = (p.record for p in parsed)
    numbers = [(r.tenant, number) for r in origins if (number := number_of(r.chassis_id, r.message_id))]
    return pa.table(
        {
            "tenant": _dictionary([tenant for tenant, _ in numbers]),
            "chassis_id": _dictionary([n.chassis_id for _, n in numbers]),
            "epoch": pa.array([n.epoch for _, n in numbers], pa.uint64()),
            "seq": pa.array([n.seq for _, n in numbers], pa.uint64()),
        }
    )


def sample_rows(parsed: Sequence[Parsed]) -> pa.Table:
    """For ``ce_technology``: the samples of many messages and machines as one batch.

    Series are brought into the table's order, rows are not touched: those of a series follow each other as its messages
    do, nearly always by time.
    """
    parts = [p for p in parsed if len(p.samples)]
    samples = Samples.beside([p.samples.sorted() for p in parts]) if parts else Samples.empty()
    of_part = np.repeat(np.arange(len(parts)), [len(p.samples.signal_names) for p in parts])
    tenants = Names.of([p.record.tenant for p in parts])[of_part]
    machines = Names.of([p.record.chassis_id for p in parts])[of_part]
    versions = np.array([p.logic_version for p in parts], np.int32)[of_part]
    order = _sorted(tenants, machines, samples.signal_names, samples.source_names)
    placed = samples.in_order(order)
    return pa.table(
        {
            "tenant": placed.named(tenants[order]),
            "chassis_id": placed.named(machines[order]),
            "signal": placed.named(placed.signal_names),
            "source": placed.named(placed.source_names),
            "ts": _times(placed.ts),
            "value": arrow.numbers(placed.value, pa.float64()),
            "status": arrow.numbers(placed.status, pa.int8()),
            "logic_version": arrow.numbers(placed.each(versions[order]), pa.uint32()),
        }
    )


def _sorted(*keys: Names) -> NDArray[np.int64]:
    """The order of series by the first key, then by the next; equal ones stay as they are.

    All keys are one number: half the time of ``np.lexsort``. Should they not fit in one, the store sorts.
    """
    number = np.zeros(len(keys[0]), np.int64)
    for names in keys:
        number = number * len(names.table) + names.table.ranks[names.codes]
    return np.argsort(number, kind="stable")


def text_rows(parsed: Sequence[Parsed]) -> pa.Table:
    """For ``texts``."""
    rows = [(p, t) for p in parsed for t in p.texts]
    return _with_origin(
        [p for p, _ in rows],
        {
            "signal": _dictionary([t.signal for _, t in rows]),
            "source": _dictionary([t.source for _, t in rows]),
            "ts": _times([t.ts for _, t in rows]),
            "text": pa.array([t.text for _, t in rows], pa.string()),
        },
    )


def dtc_rows(parsed: Sequence[Parsed]) -> pa.Table:
    """For ``dtcs``."""
    rows = [(p, d) for p in parsed for d in p.dtcs]
    return _with_origin(
        [p for p, _ in rows],
        {
            "source": _dictionary([d.source for _, d in rows]),
            "spn": pa.array([d.spn for _, d in rows], pa.uint32()),
            "fmi": pa.array([d.fmi for _, d in rows], pa.uint8()),
            "ts": _times([d.ts for _, d in rows]),
            "oc": pa.array([d.oc for _, d in rows], pa.uint8()),
            "cm": pa.array([d.cm for _, d in rows], pa.uint8()),
            "lamps": _dictionary([d.lamps for _, d in rows]),
            "message_id": pa.array([p.record.message_id for p, _ in rows], pa.string()),
        },
    )


def event_rows(parsed: Sequence[Parsed]) -> pa.Table:
    """For ``events``; ``number`` is the event's place in its message, the same however often that is parsed."""
    rows = [(p, number, e) for p in parsed for number, e in enumerate(p.events)]
    return _with_origin(
        [p for p, _, _ in rows],
        {
            "ts": _times([e.ts for _, _, e in rows]),
            "message_id": pa.array([p.record.message_id for p, _, _ in rows], pa.string()),
            "number": pa.array([number for _, number, _ in rows], pa.uint16()),
            "name": _dictionary([e.name for _, _, e in rows]),
            "severity": _dictionary([e.severity for _, _, e in rows]),
            "data": pa.array([e.data for _, _, e in rows], pa.string()),
        },
    )


def _with_origin(origins: Sequence[Parsed], columns: dict[str, Any]) -> pa.Table:
    return pa.table(
        {
            "tenant": _dictionary([p.record.tenant for p in origins]),
            "chassis_id": _dictionary([p.record.chassis_id for p in origins]),
            **columns,
            "logic_version": pa.array([p.logic_version for p in origins], pa.uint32()),
        }
    )


def by_partitions(table: pa.Table, time_column: str, most: int = MAX_PARTITIONS) -> Iterator[pa.Table]:
    """The table in parts of at most ``most`` months each: nearly always the one it is."""
    ts = table[time_column].cast(pa.int64()).to_numpy()
    first, last = _months(np.array([ts.min(), ts.max()])) if len(ts) else (0, 0)
    if last - first < most:
        yield table
        return
    months = _months(ts)
    present = np.unique(months)
    for first in range(0, len(present), most):
        yield table.filter(pa.array(np.isin(months, present[first : first + most])))


def _months(ts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Since 1970."""
    return ts.view("M8[us]").astype("M8[M]").astype(np.int64)


def _dictionary(texts: Sequence[str]) -> pa.DictionaryArray:
    return pa.array(texts, pa.string()).dictionary_encode()


def _times(ts: Sequence[int] | NDArray[np.int64]) -> pa.Array:
    """Microseconds UTC. A machine's clock may say anything; what the column cannot hold is stored as the nearest."""
    held = np.clip(np.asarray(ts, np.int64), 0, _LAST_TS)
    return arrow.numbers(held, pa.timestamp("us", "UTC"))
