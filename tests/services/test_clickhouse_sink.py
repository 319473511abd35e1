"""What the sinks write is in ClickHouse when they return, and written again it changes no answer."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from records import T, can_record, parsed, record

from duco_workbench.columns import Event, Parsed, Samples
from duco_workbench.errors import ConfigError, DataError, ServiceError
from duco_workbench.local.store.process import StoreProcess, running
from duco_workbench.model import DeadLetter
from duco_workbench.schema import migrate
from duco_workbench.sinks import clickhouse
from duco_workbench.sinks.clickhouse import DeadLetterTable, RawArchive, SampleTable, StoreClient, connect
from duco_workbench.sinks.clickhouse_rows import sample_rows

MONTH = 31 * 86_400_000_000


@pytest.fixture
def url(store: StoreProcess, request: pytest.FixtureRequest) -> str:
    """A database of this test's own."""
    address = f"http://127.0.0.1:{store.port}/{request.node.originalname}"
    migrate(connect(address))
    return address


@pytest.fixture
async def samples(url: str) -> AsyncIterator[SampleTable]:
    sink = SampleTable(url)
    await sink.open()
    yield sink
    await sink.close()


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    return list(connect(url).query(query).result_rows)


def expected(batch: list[Parsed]) -> set[tuple[Any, ...]]:
    found = set()
    for p in batch:
        s = p.samples
        for i in range(len(s)):
            value = None if np.isnan(s.value[i]) else float(s.value[i])
            name, source = s.signals[s.series[i]], s.sources[s.series[i]]
            key = (p.record.tenant, p.record.chassis_id, name, source, int(s.ts[i]))
            found.add((*key, value, int(s.status[i]), p.logic_version))
    return found


STORED = """SELECT tenant, chassis_id, signal, source, toUnixTimestamp64Micro(ts), if(isNaN(value), NULL, value),
    CAST(status AS Int8), logic_version FROM samples"""


async def test_samples_of_many_machines_in_one_batch(url: str, samples: SampleTable) -> None:
    batch = [parsed(i, start=T + i * 1_000_000, chassis_id=f"m{i % 3}") for i in range(6)]
    await samples.write(batch)
    stored = rows(url, STORED)
    assert len(stored) == len(set(stored)) == 6 * 40
    assert set(stored) == expected(batch)
    await samples.write(batch)
    await samples.write(batch[::-1])
    assert sorted(rows(url, STORED), key=str) == sorted(stored, key=str)
    for view, count in (("texts_view", 6), ("dtcs_view", 6), ("events_view", 6)):
        assert rows(url, f"SELECT count() FROM {view}") == [(count,)], view


async def test_a_large_batch_is_inserted_in_parts(
    url: str, samples: SampleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [parsed(seq, chassis_id=f"m{seq}") for seq in range(7)]
    monkeypatch.setattr(clickhouse, "MAX_ROWS", 2 * len(batch[0].samples))
    written: list[int] = []
    monkeypatch.setattr(clickhouse, "sample_rows", lambda part: written.append(len(part)) or sample_rows(part))
    await samples.write(batch)
    assert written == [2, 2, 2, 1]
    assert set(rows(url, STORED)) == expected(batch)


async def test_one_large_message_is_inserted_in_parts(
    url: str, samples: SampleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, send = [], clickhouse._send

    def spy(client: Any, table: str, part: pa.Table) -> None:
        sent.append((table, part.num_rows))
        send(client, table, part)

    monkeypatch.setattr(clickhouse, "MAX_ROWS", 15)
    monkeypatch.setattr(clickhouse, "_send", spy)
    await samples.write([parsed(1)])
    assert [rows for table, rows in sent if table == "ce_technology"] == [15, 15, 10]
    assert set(rows(url, STORED)) == expected([parsed(1)])


async def test_newer_logic_replaces_and_older_does_not(url: str, samples: SampleTable) -> None:
    old = dataclasses.replace(parsed(1), logic_version=3)
    s = old.samples
    doubled = Samples(s.signals, s.sources, s.units, s.series, s.ts, s.value * 2, s.status)
    new = dataclasses.replace(old, samples=doubled, logic_version=4)
    for batch in ([old], [new], [old]):
        await samples.write(batch)
    assert set(rows(url, STORED)) == expected([new])
    await samples.write([old, new])
    assert set(rows(url, STORED)) == expected([new])


async def test_a_tombstone_takes_a_value_away(url: str, samples: SampleTable) -> None:
    await samples.write([parsed(1)])
    connect(url).command(
        "INSERT INTO ce_technology SELECT tenant, chassis_id, signal, source, ts, value, status, logic_version + 1, 1 "
        "FROM ce_technology WHERE signal = 'EEC1.EngineSpeed'"
    )
    assert rows(url, "SELECT DISTINCT signal FROM samples") == [("CCVS.WheelBasedVehicleSpeed",)]
    assert rows(url, "SELECT DISTINCT signal FROM latest") == [("CCVS.WheelBasedVehicleSpeed",)]


async def test_a_batch_over_many_years(url: str, samples: SampleTable) -> None:
    """More months than one insert may have partitions."""
    months = 250
    ts = np.arange(months, dtype=np.int64) * MONTH + 946_684_800_000_000
    long = Samples(("A.B",), ("can0",), ("",), np.zeros(months, np.int32), ts, ts / 1e6, np.zeros(months, np.uint8))
    await samples.write([Parsed(record(), False, 1, long)])
    assert rows(url, "SELECT count(), countDistinct(toYYYYMM(ts)) FROM samples") == [(months, months)]


async def test_two_like_events_of_one_moment_are_two(url: str, samples: SampleTable) -> None:
    event = Event(T, "key_on", "info", "{}")
    message = Parsed(record(7), False, 0, Samples.empty(), events=(event, event))
    await samples.write([message])
    await samples.write([message])
    assert rows(url, "SELECT number, name FROM events_view ORDER BY number") == [(0, "key_on"), (1, "key_on")]


async def test_an_empty_batch_and_one_without_samples(url: str, samples: SampleTable) -> None:
    await samples.write([])
    await samples.write([Parsed(record(), False, 0, Samples.empty())])
    assert rows(url, "SELECT count() FROM ce_technology") == [(0,)]


async def test_raw_messages_verbatim_and_once(url: str) -> None:
    archive = RawArchive(url)
    await archive.open()
    odd = record(9, b"\x00\xff no JSON", ts=2**62, message_id="3:99")
    batch = [can_record(1), record(2), record(3, b""), odd]
    await archive.write(batch)
    await archive.write([dataclasses.replace(r, ts_enqueued=r.ts_enqueued + 3 * MONTH) for r in batch])  # sent again
    await archive.close()
    client = connect(url)
    client.set_client_setting("output_format_arrow_string_as_string", 0)
    table = client.query_arrow("SELECT message_id, body FROM raw_messages", use_strings=False)
    bodies = {row["message_id"].decode(): row["body"] for row in table.to_pylist()}
    assert bodies == {r.message_id: r.body for r in batch}
    assert table.num_rows == len(batch)


async def test_dead_letters_once_by_message_or_body(url: str) -> None:
    sink = DeadLetterTable(url)
    await sink.open()
    unread = [record(0, b"{broken", message_id=f"2:{n}", hub_sequence=n) for n in (5, 6)]
    letters = [
        DeadLetter(record(1), "unknown_version", "envelope version 9"),
        DeadLetter(record(1), "unknown_version", "envelope version 9"),
        DeadLetter(record(1), "no_manifest", "one message has one letter"),
        *(DeadLetter(r, "malformed_json", "redelivered with another sequence") for r in unread),
    ]
    for _ in range(2):
        await sink.write(letters)
    await sink.close()
    stored = rows(url, "SELECT reason, detail FROM dead_letters_view ORDER BY reason")
    assert [reason for reason, _ in stored] == ["malformed_json", "no_manifest"]


@pytest.mark.parametrize("count", [200, 300, 66_000])
@pytest.mark.parametrize("is_far", [False, True])
async def test_names_of_any_number_arrive_from_near_and_far(
    url: str, monkeypatch: pytest.MonkeyPatch, count: int, is_far: bool
) -> None:
    """A store elsewhere is sent compressed blocks; codes of names are one, two or four bytes wide."""
    if is_far:
        monkeypatch.setattr(clickhouse, "LOOPBACK", ())
    names = tuple(f"Ü.{i}" for i in range(count))
    columns = np.arange(count, dtype=np.int32), np.full(count, T), np.arange(count) / 8, np.zeros(count, np.uint8)
    samples = Samples(names, ("can0",) * count, ("",) * count, *columns)
    await SampleTable(url).write([dataclasses.replace(parsed(1, chassis_id=f"{is_far}{count}"), samples=samples)])
    query = "SELECT count(), uniqExact(signal), countIf(signal != concat('Ü.', toString(value * 8))) FROM samples"
    assert rows(url, f"{query} WHERE chassis_id = '{is_far}{count}'") == [(count, count, 0)]


async def test_a_row_twice_in_one_insert_is_there_once(url: str, samples: SampleTable) -> None:
    """Inserts leave that to who reads, also where the table has but this one part."""
    await samples.write([parsed(1), parsed(1)])
    stored, shown = rows(url, "SELECT (SELECT count() FROM ce_technology), (SELECT count() FROM samples)")[0]
    assert (stored, shown) == (80, 40)


def test_a_refusal_of_the_data_says_so(url: str) -> None:
    words = pa.table({"tenant": ["demo"], "chassis_id": ["m1"], "signal": ["A.B"], "value": ["no number"]})
    with pytest.raises(DataError, match=r"table ce_technology.*refuses the data itself") as refused:
        StoreClient(url).insert("ce_technology", words)
    assert refused.value.reason == "store_refused"


async def test_a_store_that_is_away_or_empty_is_a_service_error(tmp_path: Any) -> None:
    with running(tmp_path) as gone:
        sink = SampleTable(gone.url)
        await sink.open()
        with pytest.raises(ServiceError, match="migrate it"):
            await sink.write([parsed(1)])
        port = gone.port
    with pytest.raises(ServiceError, match="does not answer"):
        await sink.write([parsed(1)])
    with pytest.raises(ServiceError, match="does not answer"):
        await RawArchive(f"http://me:secret@127.0.0.1:{port}/duco").open()
    with running(tmp_path, port) as back:
        migrate(connect(back.url))
        await sink.write([parsed(1)])
        assert len(rows(back.url, STORED)) == 40


def test_passwords_are_not_told() -> None:
    with pytest.raises(ServiceError) as error:
        connect("http://me:secret@127.0.0.1:9/duco")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("address", ["127.0.0.1:8123", "redis://127.0.0.1/duco", "http://127.0.0.1:8123", "http:///d"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match="http://host:8123/database"):
        connect(address)


def test_this_computers_store_is_reached_past_a_proxy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert connect(url).command("SELECT 1") == 1
