"""What is measured of a flow and what it says when it is stuck, on memory; only the clock is a fake."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from records import T, encoded, record

from duco_workbench import ops
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.flows.processor import ProcessorSinks, processor
from duco_workbench.flows.validate import validator
from duco_workbench.judge import each
from duco_workbench.model import SECOND, DeadLetter, Record
from duco_workbench.ops import watch as watching
from duco_workbench.ops.figures import Figures
from duco_workbench.ops.process import Process
from duco_workbench.ports import Delivery
from duco_workbench.runtime import Stop, run_flow
from duco_workbench.settings import Settings
from duco_workbench.sources.memory import MemoryLog
from duco_workbench.testing import PATIENCE_S


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A process sets up logging for all of itself: here only for the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = handlers[:]
    yield
    root.handlers, root.level = handlers, level


def metrics(process: Process) -> dict[str, float]:
    """``name{label=value,…}`` -> value, as a scraper reads it."""
    text = process.answer("/metrics").body.decode()
    return {
        s.name + "".join(f" {k}={v}" for k, v in sorted(s.labels.items())): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


class Failing(MemoryLog[Any]):
    """A sink that fails its first writes."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def write(self, batch: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise ServiceError("the store at x is away")
        await super().write(batch)


class Nothing:
    def parse(self, messages: Any) -> Any:
        return each(messages, lambda m: m.record, lambda m: m)


async def processed(process: Process, records: list[Record], failures: int = 0, batch: int = 64) -> None:
    watch = process.watch("processor")
    to = watch.sinks(ProcessorSinks(Failing(failures), MemoryLog(), MemoryLog()))
    ends = (to.raw_archive, to.parsed_topic, to.dead_letters)
    source = watch.source(MemoryLog(records, batch=batch, ends=True), lambda item: item)
    await run_flow(source, lambda s: processor(s, validator(), Nothing(), to), ends, Stop())


def bad(seq: int) -> Record:
    return record(seq, b'{"v":1')


async def test_a_batch_is_counted_once_however_often_it_was_tried(caplog: pytest.LogCaptureFixture) -> None:
    process = Process("processor")
    song = record(9, encoded("vehicle_song", {}, seq=9), msg_type="vehicle_song")
    await processed(process, [record(1), bad(2), bad(3), song], failures=2)
    found = metrics(process)
    assert found["duco_messages_total hop=processor msg_type=vehicle_event"] == 3
    assert found["duco_messages_total hop=processor msg_type=other"] == 1
    assert found["duco_dead_letters_total hop=processor reason=malformed_json"] == 2
    assert found["duco_retries_total hop=processor service=raw_archive"] == 2
    assert found["duco_batch_messages_bucket hop=processor le=5.0"] == 1
    assert found["duco_batch_messages_bucket hop=processor le=2.0"] == 0
    assert found["duco_batch_seconds_count hop=processor"] == 1
    assert found["duco_sink_seconds_count hop=processor sink=raw_archive"] == 1
    said = [r for r in caplog.records if "malformed_json" in r.message]
    assert [r.getMessage() for r in said] == ["2 dead letters: malformed_json, of m1:1:2, m1:1:3"]
    assert said[0].fields == {"reason": "malformed_json", "count": 2, "message_ids": ["m1:1:2", "m1:1:3"]}  # type: ignore[attr-defined]


async def test_latency_is_by_the_devices_clock_and_the_hubs() -> None:
    process, now = Process("processor"), time.time_ns() // 1000
    await processed(process, [record(n, ts=now - 45 * SECOND, ts_enqueued=now - 16 * SECOND) for n in range(3)])
    found = metrics(process)
    name = "duco_latency_seconds_bucket hop=processor le={} since={}"
    assert (found[name.format("30.0", "device")], found[name.format("60.0", "device")]) == (0, 3)
    assert (found[name.format("15.0", "hub")], found[name.format("30.0", "hub")]) == (0, 3)
    assert found["duco_newest_timestamp_seconds hop=processor"] == pytest.approx(now / SECOND - 45)


async def test_no_label_names_a_machine_or_a_message() -> None:
    process = Process("processor")
    few = [record(n, chassis_id=f"truck-{n}", msg_type=f"type-{n}") for n in range(2)]
    await processed(process, few)
    before = set(metrics(process))
    figures = process._watches[0].figures
    for n in range(100):
        figures.done([record(n, chassis_id=f"truck-{n}", msg_type=f"type-{n}")], 0.1)
    assert set(metrics(process)) == before
    assert "truck" not in process.answer("/metrics").body.decode()


async def test_a_service_that_is_away_is_named_until_it_is_back() -> None:
    process = Process("processor")
    running = asyncio.create_task(processed(process, [record(1)], failures=3))
    async with asyncio.timeout(PATIENCE_S):
        while process.health()[0] != 503 or "away" not in str(process.health()[1]["wrong"]):
            await asyncio.sleep(0.01)
    said = process.health()[1]["wrong"]
    assert len(said) == 1
    assert said[0].startswith("the store at x is away (since ")
    assert metrics(process)["duco_healthy"] == 0
    await running
    assert process.health()[0] == 200
    assert metrics(process)["duco_healthy"] == 1


async def test_a_trouble_that_lasts_is_said_at_once_then_seldom_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duco_workbench.runtime.FIRST_RETRY_S", 0.001)
    monkeypatch.setattr("duco_workbench.runtime.LAST_RETRY_S", 0.001)
    await processed(Process("processor"), [record(1)], failures=100)
    said = [r for r in caplog.records if "away" in r.message]
    assert [r.getMessage().split(" s: ")[-1] for r in said] == 2 * ["the store at x is away; trying again"]
    assert said[0].fields == {"times": 1, "count": 1, "message_ids": ["m1:1:1"], "positions": {"end": "1"}}  # type: ignore[attr-defined]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the watch's clock, which stands still otherwise; nobody else's."""
    clock = SimpleNamespace(**{**vars(time), "now": 0.0})
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(watching, "time", clock)

    def move(seconds: float) -> None:
        clock.now += seconds

    return move


async def test_a_flow_that_stands_still_says_so(later: Callable[[float], None]) -> None:
    process = Process("processor")
    watch = process.watch("processor")
    assert process.health()[1]["wrong"] == ["processor has not begun: what it needs is not open yet"]
    watch.opened()
    assert process.health() == (200, process.health()[1])
    watch.lag = 12
    later(31)
    watch.asks()
    assert process.health()[1]["wrong"] == ["processor has committed nothing for 31 s, while 12 messages wait"]
    watch.begin([record(1)])
    assert process.health()[0] == 200
    later(61)
    assert process.health()[1]["wrong"] == ["processor has had 1 messages in hand for 61 s"]
    watch.done(Delivery([record(1)]))
    assert process.health()[0] == 503  # it does not ask for more
    watch.asks()
    assert process.health()[0] == 200
    later(61)
    watch.lag = 0
    assert "has waited 61 s for its source" in process.health()[1]["wrong"][0]


async def test_lag_that_another_reader_works_off_is_no_standstill(
    later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LAG_EVERY_S", 0.01)
    lags = [9]

    async def lag() -> int:
        return lags[0]

    watch = ops.Watch("processor", lag=lag)
    watch.opened()
    following = asyncio.create_task(watch.follow_lag())
    try:
        for left, wrong in ((9, True), (8, False)):
            later(40)
            watch.asks()
            lags[0] = left
            async with asyncio.timeout(PATIENCE_S):
                while watch.lag != left or bool(list(watch.wrong())) != wrong:
                    await asyncio.sleep(0.01)
    finally:
        following.cancel()


async def test_a_lossy_flow_makes_nobody_unwell() -> None:
    process = Process("ingestor")
    process.watch("realtime", vital=False)
    status, found = process.health()
    assert (status, found["notes"]) == (200, ["realtime has not begun: what it needs is not open yet"])


async def test_the_door_answers_while_the_loop_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duco_workbench.ops.process.BEAT_S", 0.01)
    monkeypatch.setattr("duco_workbench.ops.process.HANGS_S", 1.0)
    process = Process("processor", Settings(ops="processor=127.0.0.1:0 other=127.0.0.1:1"))

    def get(path: str) -> httpx.Response:
        return httpx.get(process.url + path, trust_env=False, timeout=PATIENCE_S)

    def later() -> httpx.Response:
        time.sleep(1.2)
        return get("/health")

    async with process.serving():
        async with asyncio.timeout(PATIENCE_S):  # a busy computer may keep the loop from turning, too
            while (good := await asyncio.to_thread(get, "/health")).status_code != 200:
                await asyncio.sleep(0.01)
        scraped = await asyncio.to_thread(get, "/metrics")
        with ThreadPoolExecutor(1) as beside:
            bad = beside.submit(later).result()  # until then the loop stands still, and everything in it
    assert good.json()["status"] == "ok"
    assert scraped.headers["content-type"].startswith("text/plain; version=")
    assert (await asyncio.to_thread(process.answer, "/else")).status == 404
    assert bad.status_code == 503
    assert "its loop hangs" in bad.json()["wrong"][0]


async def test_a_port_in_use_costs_nothing_but_the_door(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = Process("processor", Settings(ops=f"processor=127.0.0.1:{port}"))
        logging.getLogger().addHandler(caplog.handler)
        async with process.serving():
            assert process.url == ""
    assert "set DUCO_OPS" in caplog.text


def test_a_setting_that_is_no_address_is_said() -> None:
    with pytest.raises(ConfigError, match="DUCO_OPS: 'processor' has no address"):
        Process("processor", Settings(ops="processor=here"))


async def test_json_lines_hold_the_ids(capfd: pytest.CaptureFixture[str]) -> None:
    process = Process("processor", Settings(log_format="json", log_level="debug"))
    await processed(process, [record(1), bad(2)])
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    letter = next(line for line in lines if "dead letters" in line["message"])
    assert letter | {"ts": ""} == {
        "ts": "",
        "level": "warning",
        "logger": "duco_workbench.ops.watch",
        "process": "processor",
        "message": "1 dead letters: malformed_json, of m1:1:2",
        "reason": "malformed_json",
        "count": 1,
        "message_ids": ["m1:1:2"],
    }
    done = next(line for line in lines if "messages done" in line["message"])
    assert (done["message_ids"], done["positions"]) == (["m1:1:1", "m1:1:2"], {"end": "2"})


async def test_at_info_nothing_is_said_of_good_messages(capfd: pytest.CaptureFixture[str]) -> None:
    await processed(Process("processor", Settings()), [record(n) for n in range(200)], batch=10)
    assert capfd.readouterr().err == ""


def test_letters_of_replays_that_were_good_are_none() -> None:
    watch = ops.Watch("distributor")
    watch.begin([record(1)])
    watch.refused([DeadLetter(record(1), "")])
    watch.done(Delivery([record(1)]))
    assert not watch.figures.dead_letters


def test_a_large_batch_costs_little_more_than_reading_its_times() -> None:
    """Beside the same loop without the figures: the fastest round of each, which nobody else has slowed."""
    records = [record(n, b"", ts=T + n) for n in range(1000)]
    figures, counted, bare = Figures("processor"), list[float](), list[float]()
    for _ in range(20):
        begun = time.perf_counter()
        sum(r.ts + r.ts_enqueued + len(r.msg_type) for r in records)
        middle = time.perf_counter()
        figures.done(records, 0.1)
        bare.append(middle - begun)
        counted.append(time.perf_counter() - middle)
    assert min(counted) < 20 * min(bare)
