"""A data flow whose every part is real and whose pipelines are played by the test: it puts messages where it wants."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import redis
from hub_kit import HubThread, free_address, running_hub
from records import encoded, record

from duco_workbench import hops, wire
from duco_workbench.hops import HopNotes
from duco_workbench.local.store.process import StoreProcess
from duco_workbench.model import SECOND, DeadLetter, Record
from duco_workbench.pulse import pulse_key
from duco_workbench.schema import migrate
from duco_workbench.settings import Settings
from duco_workbench.sinks.clickhouse import DeadLetterTable, RawArchive, connect

EPOCH = 1_760_000_000_000_000
AFTER_THE_HUB = ("raw", "parsed", "distributed", "stored")


@dataclass
class Flow:
    """Store, log and hub of one test. Messages are numbered; ``now`` is when the flow was made (microseconds UTC).

    What is a coroutine runs in the hub's loop: a test with a browser has one of its own.
    """

    settings: Settings
    hub: HubThread

    def __post_init__(self) -> None:
        self.now = time.time_ns() // 1000

    def message(self, machine: str, seq: int, epoch: int = EPOCH, **changes: Any) -> Record:
        """One a second, the hundredth now."""
        msg_type = ("vehicle_event", "vehicle_log")[seq % 2]
        payload = wire.EventBody("key_on") if seq % 2 == 0 else wire.LogLine("info", "test", "hello")
        ts = self.now + (seq - 100) * SECOND
        body = changes.pop("body", None) or encoded(msg_type, payload, seq=seq, chassis_id=machine, ts=ts)
        known = {"msg_type": msg_type, "message_id": f"{machine}:{epoch}:{seq}", "ts": ts, "ts_enqueued": ts}
        return record(seq, body, machine, **{**known, **changes})

    def carry(
        self,
        machine: str,
        numbers: Iterable[int],
        to: Iterable[str] = AFTER_THE_HUB,
        epoch: int = EPOCH,
        hub: bool = True,
    ) -> None:
        """The hub takes the messages, and each of the hops named."""
        messages = [self.message(machine, seq, epoch) for seq in numbers]
        for message in messages if hub else ():
            system = {"message_id": message.message_id}
            kind = {"msgType": message.msg_type, "tenant": "demo"}
            self.hub.call(self.hub.hub.journal.append, machine, "1", system, kind, message.body)
        self.hub.call(self._carry, messages, list(to))
        if "raw" in to:
            self.ingested()

    def ingested(self) -> None:
        """An ingestor says that it has committed all that the hub has."""
        journal = self.hub.hub.journal
        committed = {str(p): (journal.bounds(p)[1], 0) for p in range(journal.partitions)}
        beat = b"%d %s" % (self.now // 1000, msgspec.json.encode({"committed": committed, "behind": 0}))
        with redis.Redis.from_url(self.settings.log_url) as client:
            client.hset(pulse_key("ingestor"), "test", beat)

    async def _carry(self, messages: list[Record], to: list[str]) -> None:
        for hop in [hop for hop in to if hop in hops.HOPS]:
            notes = HopNotes(self.settings.log_url, hop)
            notes.note(messages)
            await notes.open()
            await notes.close()
        if "stored" in to:
            await self._archive(messages)

    def store(self, *messages: Record) -> None:
        self.hub.call(self._archive, list(messages))

    async def _archive(self, messages: list[Record]) -> None:
        sink = RawArchive(self.settings.store_url)
        await sink.write(messages)
        await sink.close()

    def refuse(self, *letters: DeadLetter) -> None:
        async def write() -> None:
            sink = DeadLetterTable(self.settings.store_url)
            await sink.write(letters)
            await sink.close()

        self.hub.call(write)

    def agent(self, machine: str, **reported: Any) -> None:
        """A device of that name, and what its agent reports; ``queue`` gives seq, depth, first."""
        registry = self.hub.hub.registry
        if registry.find(machine) is None:
            self.hub.add(machine, tags={"tenant": "demo"})
        patch = {"agent": {"state": "collecting"}, "buses": {"can0": "up"}, **reported}
        if "queue" in patch:
            patch["queue"] = {"epoch": EPOCH, "acknowledged": patch["queue"]["seq"], "depth": 0, **patch["queue"]}
        self.hub.call(registry.report, machine, patch)

    def behind(self, entries: int) -> None:
        """Messages on the raw log that no processor has read."""
        with redis.Redis.from_url(self.settings.log_url) as client:
            for _ in range(entries):
                client.xadd("raw:0", {"body": b""})

    def sql(self, statement: str) -> Any:
        with connect(self.settings.store_url) as client:
            return client.command(statement)


@contextmanager
def fresh_flow(store: StoreProcess, database: str, log_url: str, folder: Path, network: int) -> Iterator[Flow]:
    """A database and a hub of a test's own; the log is empty."""
    store_url = f"http://127.0.0.1:{store.port}/{database}"
    migrate(connect(store_url))
    with redis.Redis.from_url(log_url) as client:
        client.flushall()
    with running_hub(folder / "hub", free_address(network)) as hub:
        names = {"hub": hub.identity.hub, "hub_ca": str(hub.identity.ca)}
        yield Flow(Settings(log_url=log_url, store_url=store_url, data=folder, **names), hub)
