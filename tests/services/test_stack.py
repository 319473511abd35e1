"""The whole embedded stack as a user has it: started by `duco up`, streaming, imported into, killed part by part."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import clickhouse_connect
import numpy as np
import pytest
from records import T, encoded, record
from stack_kit import PATIENCE_S, duco, eventually, kill, write_candump

from duco_workbench import pulse, testing, wire
from duco_workbench.catalog.client import CatalogClient
from duco_workbench.local.fleet import Fleet
from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.local.supervision import Supervisor
from duco_workbench.log import log_sink
from duco_workbench.model import SECOND, Record
from duco_workbench.settings import Settings
from duco_workbench.topics import RAW

MORNING = 1_600_000_000 * SECOND  # a day long ago, for imports
PARTS = ("log", "live", "store", "meta", "processor", "distributor", "ingestor", "page")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with testing.running_stack(tmp_path_factory.mktemp("stack"), Fleet(machines=1, history_s=180)) as settings:
        yield settings


@pytest.fixture
def store(stack: Settings) -> Iterator[Any]:
    """What any program has: the package's own client knows nothing of ours."""
    port = int(stack.store_url.rpartition(":")[2].partition("/")[0])
    with clickhouse_connect.get_client(host="127.0.0.1", port=port, database="duco") as client:
        yield client


@pytest.fixture(scope="module")
def log_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "morning.log"
    write_candump(path, SimulatedMachine("truck-7").frames(MORNING, MORNING + 60 * SECOND))
    return path


def import_log(stack: Settings, path: Path, machine: str) -> subprocess.CompletedProcess[str]:
    bindings = SimulatedMachine(machine).bindings()
    pairs = [part for bus, dbc in bindings.items() for part in ("--dbc", f"{bus}={dbc}")]
    return duco("import", str(path), "--machine", machine, *pairs, data=stack.data)


def rows_of(store: Any, machine: str) -> list[Any]:
    sql = """SELECT signal, source, ts, value, status FROM ce_technology FINAL
             WHERE chassis_id = {machine:String} AND is_deleted = 0 ORDER BY ALL"""
    return [tuple(map(str, row)) for row in store.query(sql, parameters={"machine": machine}).result_rows]


def status(stack: Settings) -> dict[str, Any]:
    done = duco("status", "--json", data=stack.data)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_two_minutes_are_there_when_it_is_up_and_it_goes_on(stack: Settings, store: Any) -> None:
    sql = "SELECT toUnixTimestamp64Micro(min(ts)), toUnixTimestamp64Micro(max(ts)), count() FROM ce_technology"
    oldest, newest, count = store.query(sql).result_rows[0]
    assert newest - oldest > 120 * SECOND
    eventually(lambda: store.query(sql).result_rows[0][2] > count)


def test_a_second_up_leaves_what_runs_alone(stack: Settings) -> None:
    before = {name: state["pid"] for name, state in Supervisor(stack.data).states().items()}
    done = duco("up", "--detach", data=stack.data)
    assert done.returncode == 0, done.stderr
    assert {name: state["pid"] for name, state in Supervisor(stack.data).states().items()} == before
    assert stack.page_url in done.stdout


def test_an_import_twice_changes_nothing(stack: Settings, store: Any, log_file: Path) -> None:
    done = import_log(stack, log_file, "truck-7")
    assert done.returncode == 0, done.stderr
    first = rows_of(store, "truck-7")
    raw = "SELECT count() FROM raw_data_cache_store FINAL WHERE chassis_id = 'truck-7'"
    messages = store.query(raw).result_rows
    assert len(first) > 1000
    assert messages[0][0] == 6  # of ten seconds each
    assert import_log(stack, log_file, "truck-7").returncode == 0
    assert rows_of(store, "truck-7") == first
    assert store.query(raw).result_rows == messages


@pytest.mark.parametrize("part", [p for p in PARTS if p != "page"])
def test_a_part_killed_during_an_import_costs_nothing(
    stack: Settings, store: Any, log_file: Path, part: str, tmp_path: Path
) -> None:
    if not rows_of(store, "truck-7"):
        assert import_log(stack, log_file, "truck-7").returncode == 0
    machine, expected = f"killed-{part}", rows_of(store, "truck-7")
    importing = subprocess.Popen(
        [sys.executable, "-c", _IMPORT, str(log_file), machine, str(stack.data)], stderr=subprocess.PIPE, text=True
    )
    eventually(lambda: bool(store_count(stack, machine)) or importing.poll() is not None)
    kill(Supervisor(stack.data), part)
    importing.communicate(timeout=PATIENCE_S)
    if importing.returncode:  # what was killed was needed by the import itself: the same command again resumes it
        eventually(lambda: import_log(stack, log_file, machine).returncode == 0)
    eventually(lambda: rows_now(stack, machine) == expected)


_IMPORT = """
import sys
from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench import cli
log, machine, data = sys.argv[1:]
pairs = [p for bus, dbc in SimulatedMachine(machine).bindings().items() for p in ("--dbc", f"{bus}={dbc}")]
sys.argv = ["duco", "import", log, "--machine", machine, *pairs, "--data", data]
cli.main()
"""


def fresh(stack: Settings) -> Any:
    port = int(stack.store_url.rpartition(":")[2].partition("/")[0])
    return clickhouse_connect.get_client(host="127.0.0.1", port=port, database="duco")


def rows_now(stack: Settings, machine: str) -> list[Any]:
    """No rows while the store is away."""
    with suppress(clickhouse_connect.driver.exceptions.Error), fresh(stack) as client:
        return rows_of(client, machine)
    return []


def store_count(stack: Settings, machine: str) -> int:
    with suppress(clickhouse_connect.driver.exceptions.Error), fresh(stack) as client:
        sql = "SELECT count() FROM raw_data_cache_store WHERE chassis_id = {machine:String}"
        return int(client.query(sql, parameters={"machine": machine}).result_rows[0][0])
    return 0


def test_a_damaged_or_foreign_file_in_a_folder_is_said_and_stops_no_other(stack: Settings, tmp_path: Path) -> None:
    frames = SimulatedMachine("folder").frames(MORNING, MORNING + SECOND)
    write_candump(tmp_path / "a.log", frames)
    (tmp_path / "b.blf").write_bytes(b"LOGG" + bytes(200))
    whole = (tmp_path / "a.log").read_bytes()
    (tmp_path / "c.log").write_bytes(b"garbage\n" + whole[: len(whole) // 2])
    done = import_log(stack, tmp_path, "folder")
    assert done.returncode == 1
    assert "b.blf" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "c.log: 1 line is no candump line, the first is line 1: skipped" in done.stdout
    assert "of 2 file(s) imported as folder" in done.stdout


def test_a_machine_without_any_database_is_asked_for_one(stack: Settings, log_file: Path) -> None:
    done = duco("import", str(log_file), "--machine", "nobody", data=stack.data)
    assert done.returncode == 1
    assert "nothing says how to decode nobody" in done.stderr


def test_a_damaged_database_is_one_sentence(stack: Settings, log_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.dbc").write_text('VERSION ""\nBO_ 12 X: 8 A\n SG_ broken')
    done = duco("import", str(log_file), "--machine", "bad", "--dbc", str(tmp_path / "bad.dbc"), data=stack.data)
    assert done.returncode == 1
    assert "'bad'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_by_sequence_nothing_was_lost_or_doubled(stack: Settings) -> None:
    eventually(lambda: not any(status(stack)["lag"].values()))
    found = status(stack)
    assert (found["lost"], found["duplicates"], found["dead_letters"]) == (0, 0, {})
    assert {p["state"] for name, p in found["processes"].items() if name != "past"} == {"RUNNING"}


def test_a_changed_factor_is_on_new_rows_with_a_new_revision_and_no_restart(stack: Settings, store: Any) -> None:
    sql = """SELECT logic_version, avg(value) FROM ce_technology FINAL
             WHERE chassis_id = 'demo-01' AND signal = 'AMB.AmbientAirTemp' AND ts > now64() - INTERVAL 30 SECOND
             GROUP BY logic_version ORDER BY logic_version"""
    (old, cold) = eventually(lambda: store.query(sql).result_rows)[-1]
    CatalogClient(stack.meta_url).patch_signal("demo", "powertrain", "AMB.AmbientAirTemp", offset=727.0)
    new = eventually(lambda: [row for row in store.query(sql).result_rows if row[0] > old])
    assert new[-1][1] > cold + 900
    mixed = """SELECT intDiv(toUnixTimestamp64Micro(ts), 10000000) AS envelope, groupUniqArray(logic_version)
               FROM ce_technology FINAL
               WHERE chassis_id = 'demo-01' AND ts > now64() - INTERVAL 3 MINUTE
                     AND match(signal, '^(AMB|EEC1|CCVS1?)[.]')
               GROUP BY envelope HAVING uniqExact(logic_version) > 1 OR min(logic_version) = 0"""
    assert store.query(mixed).result_rows == []  # an envelope has ten seconds of frames, and one revision for all


def bad_records() -> dict[str, Record]:
    """One record for each kind of bad input, from a machine the catalog knows (but for the reasons about that)."""
    nine = np.zeros(1, wire.CAN18)
    nine["dlc"] = 9

    def can(seq: int, machine: str = "demo-01", ts: int = T, **changes: object) -> Record:
        raw = changes.pop("raw", bytes(18))
        text = base64.b64encode(zlib.compress(raw)).decode()  # type: ignore[arg-type]
        block = {"ch": "can0", "t0": ts, "n": 1, "enc": wire.CLASSIC, "b64": text} | changes
        body = encoded("vehicle_can", {"blocks": [block]}, seq=seq, chassis_id=machine, ts=ts)
        return record(seq, body, machine, msg_type="vehicle_can", ts=ts, message_id=f"{machine}:9:{seq}")

    def event(seq: int, old: bytes = b"", new: bytes = b"", **changes: Any) -> Record:
        times = {name: changes[name] for name in ("ts",) if name in changes}
        body = encoded("vehicle_event", wire.EventBody("odd"), seq=seq, chassis_id="demo-01", **times)
        return record(seq, body.replace(old, new), "demo-01", message_id=f"demo-01:9:{seq}", **changes)

    return {
        "malformed_json": record(1, b'{"v":1,"msg', "demo-01", message_id="demo-01:9:1"),
        "unknown_msg_type": event(2, b"vehicle_event", b"vehicle_song"),
        "unknown_version": event(3, b'"v":1', b'"v":7'),
        "unknown_device": can(4, "stranger"),
        "no_manifest": can(5, "bare"),
        "wrong_dlc": can(6, raw=nine.tobytes()),
        "bad_base64": can(7, b64="%%%"),
        "too_large": can(8, raw=bytes(wire.MAX_UNPACKED + 18), n=(wire.MAX_UNPACKED + 18) // 18),
        "count_mismatch": can(9, n=2),
        "clock_future": event(10, ts=T + 301 * SECOND, ts_enqueued=T),
        "too_old": event(11, ts=T - 401 * 86400 * SECOND, ts_enqueued=T),
    }


async def judges_by(stack: Settings, revision: int) -> None:
    """Until the processor has heard of it."""
    async with asyncio.timeout(PATIENCE_S):
        while ((await pulse.read("processor", stack.state)) or {}).get("revision", 0) < revision:
            await asyncio.sleep(0.2)


async def test_each_bad_message_is_one_dead_letter_with_its_own_reason(stack: Settings, store: Any) -> None:
    catalog = CatalogClient(stack.meta_url)
    catalog.ensure_device("demo", "bare")
    await judges_by(stack, catalog.revision())
    bad = bad_records()
    good = [
        record(
            100 + i, encoded("vehicle_event", wire.EventBody(f"good {i}"), seq=100 + i, chassis_id="demo-01"), "demo-01"
        )
        for i in range(3)
    ]
    sink = log_sink(stack.log, RAW)
    await sink.open()
    await sink.write([good[0], *list(bad.values())[:5], good[1], *list(bad.values())[5:], good[2]])
    await sink.close()
    sql = "SELECT reason, message_id, count() FROM dead_letters_view GROUP BY ALL"
    expected = sorted((reason, item.message_id, 1) for reason, item in bad.items())
    eventually(lambda: sorted(map(tuple, store.query(sql).result_rows)) == expected)
    names = "SELECT name FROM events_view WHERE name LIKE 'good%' ORDER BY name"
    eventually(lambda: store.query(names).result_rows == [("good 0",), ("good 1",), ("good 2",)])
    archived = "SELECT count() FROM raw_messages WHERE message_id IN {ids:Array(String)}"
    kept = store.query(archived, parameters={"ids": [item.message_id for item in bad.values()]}).result_rows
    assert kept == [(len(bad),)]


MISSING = {"demo-01": ["9:4–5"]}  # of the bad ones; in flight as long as something waits in the machine's queue


def test_down_drains_within_ten_seconds_and_up_resumes(stack: Settings) -> None:
    """The last test here: it leaves the stack with other processes."""
    eventually(lambda: lost(status(stack)) == MISSING)
    before = status(stack)
    assert duco("down", data=stack.data).returncode == 0
    told = (stack.data / "logs" / "supervisor.log").read_text()
    assert "stopped: log" in told
    assert "SIGKILL" not in told.rpartition("waiting for")[2]  # what a part gets that has not drained after 9 s
    environment = {f"DUCO_{k.upper()}": str(v) for k, v in stack.model_dump(mode="json").items()}
    command = [
        sys.executable,
        "-m",
        "duco_workbench.cli",
        "up",
        "--detach",
        "--machines",
        "1",
        "--data",
        str(stack.data),
    ]
    assert subprocess.run(command, env=os.environ | environment, timeout=PATIENCE_S).returncode == 0
    eventually(lambda: stored(status(stack)) > stored(before))
    eventually(lambda: not any(status(stack)["lag"].values()))
    eventually(lambda: lost(status(stack)) == MISSING)
    assert status(stack)["duplicates"] == 0


def lost(found: dict[str, Any]) -> dict[str, Any]:
    """Of each machine that misses something."""
    return {machine["chassis_id"]: machine["missing"] for machine in found["machines"] if machine.get("lost")}


def stored(found: dict[str, Any]) -> int:
    """Messages with frames that a status counts in the store."""
    return sum(hop["count"] for hop in found["hops"] if (hop["name"], hop["msg_type"]) == ("stored", "vehicle_can"))
