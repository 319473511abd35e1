"""Records of each topic survive the log's bytes; partitions are Kafka's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars
import pytest
from records import can_record, parsed

from duco_workbench import topics
from duco_workbench.columns import Samples
from duco_workbench.model import DeadLetter, Replay
from duco_workbench.parsed_ipc import from_ipc, to_ipc


@pytest.mark.parametrize(
    ("topic", "item"),
    [
        (topics.RAW, can_record()),
        (topics.RAW, can_record(replay=Replay("m1:1:1", 5))),
        (topics.DEAD_LETTERS, DeadLetter(can_record(replay=Replay("m1:1:1", 5)), "")),
        (topics.DEAD_LETTERS, DeadLetter(can_record(), "bad_base64", "block can0: odd")),
    ],
)
def test_a_record_comes_back_equal(topic: topics.Topic[Any], item: Any) -> None:
    (entry,) = topic.encode([item])
    assert entry.key == "demo/m1"
    assert topic.decode(entry.headers, entry.body) == [item]


def test_parsed_comes_back_equal() -> None:
    item = parsed(replay=Replay("m1:1:1", 5))
    (entry,) = topics.PARSED.encode([item])
    (back,) = topics.PARSED.decode({}, entry.body)
    assert (back.record, back.realtime, back.logic_version) == (item.record, True, 7)
    assert (back.texts, back.dtcs, back.events) == (item.texts, item.dtcs, item.events)
    assert back.samples.signals == item.samples.signals
    assert back.samples.units == ("rpm", "km/h")
    for name in ("series", "ts", "value", "status"):
        np.testing.assert_array_equal(getattr(back.samples, name), getattr(item.samples, name))


def test_parsed_without_samples() -> None:
    item = parsed(n=0)
    (back,) = from_ipc(to_ipc([item]))
    assert len(back.samples) == 0
    assert back.record.message_id == item.record.message_id


def test_a_listener_without_our_code_reads_parsed_as_arrow() -> None:
    item = parsed()
    table = polars.read_ipc_stream(to_ipc([item]))
    rows = table.explode("ts", "value", "status").select("signal", "source", "ts", "value", "status")
    expected = item.samples.to_polars()
    assert rows["ts"].dtype == polars.Datetime("us", "UTC")
    assert rows["signal"].cast(str).to_list() == expected["signal"].cast(str).to_list()
    assert rows["ts"].to_list() == expected["ts"].to_list()
    assert rows["value"].fill_nan(None).to_list() == expected["value"].fill_nan(None).to_list()
    assert rows["status"].to_list()[20:25] == [0, 0, 0, 0, 1]


def test_messages_of_a_partition_are_one_entry_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [parsed(seq, chassis_id=f"m{seq % 5}") for seq in range(20)] + [parsed(20, n=0)]
    entries = list(topics.PARSED.encode(items))
    assert len(entries) == len({topics.partition_of(entry.key) for entry in entries})
    monkeypatch.setattr(topics, "MOST_ROWS", 2 * len(items[0].samples))
    small = list(topics.PARSED.encode(items))
    assert len(small) > len(entries)
    for given in (entries, small):
        back = [(topics.partition_of(e.key), item) for e in given for item in topics.PARSED.decode({}, e.body)]
        assert all(topics.partition_of(f"demo/{item.record.chassis_id}") == partition for partition, item in back)
        for machine in {item.record.chassis_id for item in items}:
            sent = [item for item in items if item.record.chassis_id == machine]
            came = [item for _, item in back if item.record.chassis_id == machine]
            assert [c.record.message_id for c in came] == [s.record.message_id for s in sent]
            for c, s in zip(came, sent, strict=True):
                assert str(c.samples.to_arrow().to_pylist()) == str(s.samples.to_arrow().to_pylist())


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
