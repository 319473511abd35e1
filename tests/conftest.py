"""Fixtures all tests share: real servers, each on free ports and in a folder of its own."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

sys.path.insert(0, str(Path(__file__).parent))  # helpers of tests: `import cantools_oracle`

from kafka_kit import Doors

from duco_workbench import testing
from duco_workbench.local.kafka import Broker
from duco_workbench.local.store.process import StoreProcess, running
from duco_workbench.log_address import KafkaAccess, LogAddress


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey of this test run; flush it, or use keys of your own."""
    with testing.valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def fresh_valkey(tmp_path: Path) -> Iterator[str]:
    with testing.valkey(tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
def kafka_doors(tmp_path_factory: pytest.TempPathFactory) -> Doors:
    return Doors(tmp_path_factory.mktemp("doors"))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, kafka_doors: Doors) -> Iterator[Broker]:
    """A Kafka of this test run. Who stops it starts it again."""
    with testing.kafka(tmp_path_factory.mktemp("kafka"), kafka_doors.properties(), kafka_doors.scram()) as broker:
        yield broker


@pytest.fixture
def on_kafka(kafka: Broker) -> LogAddress:
    """A log that nobody else uses."""
    return LogAddress(kafka.url, kafka=KafkaAccess(prefix=f"t{uuid.uuid4().hex[:8]}."))


@pytest.fixture
def on_redis(valkey_url: str) -> LogAddress:
    """An empty log."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    return LogAddress(valkey_url, 256 << 20)


@pytest.fixture(params=["on_redis", "on_kafka"])
def on_either(request: pytest.FixtureRequest) -> LogAddress:
    log: LogAddress = request.getfixturevalue(request.param)
    return log


@pytest.fixture(scope="session")
def chromium_path() -> str:
    return testing.chromium()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """A store of a file's own; take a database for each test."""
    with running(tmp_path_factory.mktemp("store")) as process:
        yield process
