"""From the bus to ClickHouse the way of the field: agents, the hub, the ingestor; killed part by part, and replayed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
import redis
from stack_kit import duco, eventually, kill, write_candump

from duco_workbench import testing
from duco_workbench.catalog.client import CatalogClient
from duco_workbench.local.fleet import Fleet, Replay
from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.local.supervision import Supervisor
from duco_workbench.model import SECOND
from duco_workbench.settings import Settings

MORNING = 1_599_999_203_250_000  # a trouble code is active; no whole second, and yet both must cut it alike
PARTS = ("hub", "machines", "ingestor", "processor", "distributor")
REPLAYED_S = 180  # a log of 75 s is replayed as fast as it was written


def status(stack: Settings) -> dict[str, Any]:
    done = duco("status", "--json", data=stack.data)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = SimulatedMachine("truck-7").frames(MORNING, MORNING + 75 * SECOND)  # longer than a code goes untold
    return write_candump(tmp_path_factory.mktemp("logs") / "morning.log", frames)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, log_file: Path) -> Iterator[Settings]:
    replay = Replay(log_file, {bus: [dbc] for bus, dbc in SimulatedMachine.bindings().items()})
    fleet = Fleet(machines=2, replays=(replay,), history_s=80, once=True)
    with testing.running_stack(tmp_path_factory.mktemp("stack"), fleet) as settings:
        yield settings


@pytest.fixture
def store(stack: Settings) -> Iterator[Any]:
    port = int(stack.store_url.rpartition(":")[2].partition("/")[0])
    with clickhouse_connect.get_client(host="127.0.0.1", port=port, database="duco") as client:
        yield client


def rows_of(store: Any, machine: str, table: str) -> list[tuple[Any, ...]]:
    """All rows with their times since the machine's first, in microseconds."""
    columns = {
        "ce_technology": "signal, source, ts, value, toString(status)",
        "texts": "signal, source, ts, text",
        "dtcs": "source, spn, fmi, ts, oc, lamps",
    }[table].replace("ts", "toUnixTimestamp64Micro(ts) - (SELECT first FROM origin)", 1)
    sql = f"""WITH origin AS (SELECT toUnixTimestamp64Micro(min(ts)) AS first FROM ce_technology
                              WHERE chassis_id = {{machine:String}})
              SELECT {columns} FROM {table} FINAL
              WHERE chassis_id = {{machine:String}} AND is_deleted = 0 ORDER BY ALL"""
    return [tuple(map(str, row)) for row in store.query(sql, parameters={"machine": machine}).result_rows]


def test_a_log_replayed_through_agent_and_hub_is_stored_as_its_import(
    stack: Settings, store: Any, log_file: Path
) -> None:
    pairs = [part for bus, dbc in SimulatedMachine.bindings().items() for part in ("--dbc", f"{bus}={dbc}")]
    assert duco("import", str(log_file), "--machine", "imported", *pairs, data=stack.data).returncode == 0
    for table in ("ce_technology", "texts", "dtcs"):
        expected = rows_of(store, "imported", table)
        assert expected
        eventually(partial(is_replayed, store, table, len(expected)), REPLAYED_S)
        assert rows_of(store, "replay-morning", table) == expected


def is_replayed(store: Any, table: str, count: int) -> bool:
    return len(rows_of(store, "replay-morning", table)) >= count


def test_every_kind_of_message_is_stored(stack: Settings, store: Any) -> None:
    sql = "SELECT DISTINCT msg_type FROM raw_messages WHERE chassis_id = 'demo-01' AND ts > now64() - INTERVAL 1 MINUTE"
    expected = {("vehicle_can",), ("vehicle_position",), ("client_raw_data",)}
    eventually(lambda: set(store.query(sql).result_rows) >= expected)


def test_a_machine_streams_when_told_and_stops_when_told(stack: Settings) -> None:
    catalog = CatalogClient(stack.meta_url)
    key = "live-stream/demo/consumer-demo-01/vehicle_can"
    with redis.Redis.from_url(stack.live_url) as live:
        assert live.xlen(key) == 0
        catalog.set_realtime("demo-01", True, "test")
        eventually(lambda: live.xlen(key) >= 3)
        assert catalog.twin("demo-01")["properties"]["reported"]["agent"]["version"]
        catalog.set_realtime("demo-01", False, "test")
        eventually(lambda: stands_still(lambda: live.xlen(key)), 60)  # unasked it would stop after three minutes


def stands_still(count: Callable[[], int]) -> bool:
    """For three seconds, in which a machine that streams sends three times."""
    before = count()
    time.sleep(3)
    return count() == before


def test_parts_killed_one_after_the_other_lose_and_double_nothing(stack: Settings) -> None:
    supervisor, before = Supervisor(stack.data), stored(stack)
    for part in PARTS:
        kill(supervisor, part)
        time.sleep(2)  # it has something under way when the next one is killed
    eventually(lambda: stored(stack) > before + 3)
    eventually(lambda: not any(status(stack)["lag"].values()))
    found = status(stack)
    assert (found["lost"], found["duplicates"], found["dead_letters"]) == (0, 0, {})


def stored(stack: Settings) -> int:
    return sum(hop["count"] for hop in status(stack)["hops"] if hop["name"] == "stored")
