"""The whole embedded stack on a log of Kafka, and what `duco` says of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from stack_kit import duco, eventually, write_candump

from duco_workbench import testing
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.local import stack as stacks
from duco_workbench.local.fleet import Fleet
from duco_workbench.local.kafka import Broker
from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.log_address import LogAddress
from duco_workbench.model import SECOND
from duco_workbench.settings import Settings
from duco_workbench.sinks.clickhouse import connect
from duco_workbench.topics import PARTITIONS

ROOT = Path(__file__).parents[2]
MORNING = 1_600_000_000 * SECOND


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, kafka: Broker) -> Iterator[Settings]:
    state = f"redis://127.0.0.1:{testing.free_port()}/0"
    names = {"log_url": kafka.url, "state_url": state, "kafka_prefix": "stack."}
    data = tmp_path_factory.mktemp("stack")
    with testing.running_stack(data, Fleet(machines=2, history_s=60), **names) as settings:
        yield settings


def status(stack: Settings) -> dict[str, Any]:
    done = duco("status", "--json", data=stack.data)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_machines_send_can_be_queried_and_nothing_is_lost(stack: Settings) -> None:
    with connect(stack.store_url) as store:
        count = store.command("SELECT count() FROM ce_technology")
        assert count > 0  # the past
        newest = "SELECT count() FROM raw_data_cache_store WHERE ts_enqueued > now64() - INTERVAL 20 SECOND"
        eventually(lambda: int(store.command(newest)) > 0)
    eventually(lambda: not any(status(stack)["lag"].values()))
    found = status(stack)
    assert (found["lost"], found["duplicates"], found["dead_letters"], found["troubles"]) == (0, 0, {}, {})
    assert {p["state"] for name, p in found["processes"].items() if name != "past"} == {"RUNNING"}
    assert {hop["name"] for hop in found["hops"]} >= {"sent", "hub", "raw", "parsed", "distributed", "stored"}
    assert (found["addresses"]["log_url"], found["addresses"]["state_url"]) == (stack.log_url, stack.state_url)


def test_the_log_is_kafka_and_what_stands_beside_it_is_not(stack: Settings) -> None:
    with redis.Redis.from_url(stack.state) as state:
        kinds = {key.split(b":")[0] for key in state.scan_iter()}
    assert kinds == {b"alive", b"hops", b"hub"}


def test_an_import_is_stored_when_it_returns(stack: Settings, tmp_path: Path) -> None:
    frames = SimulatedMachine("truck-7").frames(MORNING, MORNING + 30 * SECOND)
    bindings = SimulatedMachine("truck-7").bindings()
    pairs = [part for bus, dbc in bindings.items() for part in ("--dbc", f"{bus}={dbc}")]
    log = write_candump(tmp_path / "morning.log", frames)
    done = duco("import", str(log), "--machine", "truck-7", *pairs, data=stack.data)
    assert done.returncode == 0, done.stderr
    with connect(stack.store_url) as store:
        assert int(store.command("SELECT count() FROM ce_technology WHERE chassis_id = 'truck-7'")) > 500


def test_a_second_processor_shares_the_machines_and_hands_them_back(stack: Settings, tmp_path: Path) -> None:
    before, first = status(stack), stack.data / "logs" / "processor.log"
    environment = {**os.environ, **stacks._environment(stack)}
    command = [sys.executable, "pipelines/processor.py"]
    with (
        (tmp_path / "second.log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log) as second,
    ):
        eventually(lambda: shared(partitions_of(first), partitions_of(tmp_path / "second.log")), 60)
        second.send_signal(signal.SIGTERM)
        assert second.wait(10) == 0
        eventually(lambda: partitions_of(first) == EVERY, 15)
    eventually(lambda: not any(status(stack)["lag"].values()))
    found = status(stack)
    assert (found["lost"], found["duplicates"], found["redelivered"]) == (0, 0, before["redelivered"])


EVERY = {str(p) for p in range(PARTITIONS)}


def shared(ones: set[str], others: set[str]) -> bool:
    return 0 < len(others) < PARTITIONS and ones == EVERY - others


def partitions_of(log: Path) -> set[str]:
    """Those of ``raw`` that a process says it reads now."""
    said = [line for line in log.read_text().splitlines() if ": reading " in line]
    return set(re.findall(r"stack\.raw:(\d)", said[-1])) if said else set()


def test_up_on_another_log_is_refused_while_it_runs(stack: Settings) -> None:
    with pytest.raises(ConfigError, match=rf"runs on the log {stack.log_url}: `duco down` first"):
        stacks.settings_to_start(stack.data, "redis://127.0.0.1:6390/0")
    assert stacks.settings_to_start(stack.data, stack.log_url).state == stack.state


def test_up_takes_the_log_it_is_told_and_keeps_the_rest_beside_it(tmp_path: Path) -> None:
    settings = stacks.settings_to_start(tmp_path, "kafka://127.0.0.1:9092")
    assert settings.log == LogAddress("kafka://127.0.0.1:9092")
    assert settings.state == Settings().log_url
    with pytest.raises(ConfigError, match="DUCO_LOG_URL"):
        stacks.settings_to_start(tmp_path, "kafka")


def test_up_without_its_kafka_says_how_to_start_one(tmp_path: Path) -> None:
    settings = testing.free_settings(tmp_path).model_copy(
        update={"log_url": f"kafka://127.0.0.1:{testing.free_port()}", "state_url": "redis://127.0.0.1:1/0"}
    )
    with pytest.raises(ServiceError, match=r"no Kafka answers at kafka://127\.0\.0\.1:.*`make kafka`"):
        stacks.up(settings, Fleet(machines=0), lab=False, say=print)


def test_a_log_on_kafka_needs_a_place_for_what_stands_beside_it() -> None:
    with pytest.raises(ConfigError, match="DUCO_STATE_URL is not set"):
        _ = Settings(log_url="kafka://127.0.0.1:9092").state
