"""Records of each topic survive the log's bytes; partitions are Kafka's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from records import can_record, parsed

from duco_workbench import topics
from duco_workbench.columns import Samples
from duco_workbench.model import DeadLetter


@pytest.mark.parametrize(
    ("topic", "item"),
    [
        (topics.RAW, can_record()),
        (topics.DEAD_LETTERS, DeadLetter(can_record(), "bad_base64", "block can0: odd")),
    ],
)
def test_a_record_comes_back_equal(topic: topics.Topic[Any], item: Any) -> None:
    entry = topic.encode(item)
    assert entry.key == "demo/m1"
    assert topic.decode(entry.headers, entry.body) == item


def test_parsed_comes_back_equal() -> None:
    item = parsed()
    back = topics.PARSED.decode({}, topics.PARSED.encode(item).body)
    assert (back.record, back.realtime, back.logic_version) == (item.record, True, 7)
    assert (back.texts, back.dtcs, back.events) == (item.texts, item.dtcs, item.events)
    assert back.samples.signals == item.samples.signals
    assert back.samples.units == ("rpm", "km/h")
    for name in ("series", "ts", "value", "status"):
        np.testing.assert_array_equal(getattr(back.samples, name), getattr(item.samples, name))


def test_parsed_without_samples() -> None:
    item = parsed(n=0)
    assert len(topics.from_ipc(topics.to_ipc(item)).samples) == 0


def test_a_listener_without_our_code_reads_parsed_as_arrow() -> None:
    table = pa.ipc.open_stream(topics.to_ipc(parsed())).read_all()
    assert table.column_names == ["signal", "source", "ts", "value", "status"]
    assert str(table.schema.field("ts").type) == "timestamp[us, tz=UTC]"
    assert table["status"].to_pylist()[20:25] == ["ok", "ok", "ok", "ok", "not_available"]


def test_partitions_are_those_of_kafkas_default_partitioner() -> None:
    # murmur2 of the Java client: Utils.murmur2(key) for these keys, as kafka-python's own tests have them
    assert topics._murmur2(b"21") == 0x100000000 - 973932308
    assert topics._murmur2(b"foobar") == 0x100000000 - 790332482
    assert topics._murmur2(b"a-little-bit-long-string") == 0x100000000 - 985981536
    spread = Counter(topics.partition_of(f"demo/m{i}") for i in range(4000))
    assert set(spread) == set(range(8))
    assert max(spread.values()) < 2 * min(spread.values())


def test_series_of_many_parts_are_merged_by_name() -> None:
    a, b = parsed(1).samples, parsed(2, start=records_start()).samples
    both = Samples.concat([a, b])
    assert both.signals == a.signals
    assert len(both) == len(a) + len(b)
    assert both.to_arrow()["signal"].to_pylist() == a.to_arrow()["signal"].to_pylist() * 2


def records_start() -> int:
    return 1_760_000_100_000_000
