"""The logic changes while messages flow: each row says by which it was decoded, and a later one replaces an earlier."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Sequence

import numpy as np
from pipes_kit import DBC, running_pipes
from records import T, can_record, frames

from duco_workbench.columns import Parsed
from duco_workbench.local.store.process import StoreProcess
from duco_workbench.log_address import LogAddress
from duco_workbench.model import SECOND, Binding, FrameBatch, Manifest, Message, Record
from duco_workbench.parsing.logic import Knowledge, ManifestLogic
from duco_workbench.ports import Outcome
from duco_workbench.schema import migrate
from duco_workbench.sinks.clickhouse import connect

MACHINES = ("m1", "m2")
SECONDS, CHANGES, SEED = 100, 8, 3
NEWEST = CHANGES + 1
STEP = 10_000  # more than the signal's range: what a value was decoded by can be read off it
# Of each message, which is a second of a machine: the versions that its values and its code say, and its values show.
VERSIONS = f"""
SELECT chassis_id, groupUniqArray(version)
FROM (
    SELECT chassis_id, ts, toUInt32(arrayJoin([logic_version, intDiv(value, {STEP})])) AS version FROM samples
    UNION ALL
    SELECT chassis_id, ts, logic_version AS version FROM dtcs_view
)
GROUP BY chassis_id, toStartOfSecond(ts) AS second ORDER BY chassis_id, second
"""
COUNTS = "SELECT (SELECT count() FROM samples), (SELECT count() FROM dtcs_view)"
DM1 = np.array([0x04, 0xFF, 110, 0, 3, 1, 0xFF, 0xFF], np.uint8)


def knowledge(revision: int) -> Knowledge:
    """Of which every value is higher by :data:`STEP` than of the one before."""
    text = DBC.replace("(0.125,0) [0|8031.875]", f"(0.125,{revision * STEP}) [0|0]")
    devices = frozenset(("demo", name) for name in MACHINES)
    binding = Binding("*", "x", revision, text)
    return Knowledge(revision, devices, tuple(Manifest(revision, "demo", name, (binding,)) for name in MACHINES))


class Noting(ManifestLogic):
    """Remembers which versions each batch was decoded by."""

    def __init__(self, knowledge: Knowledge) -> None:
        super().__init__(knowledge)
        self.batches: list[set[int]] = []

    def parse(self, messages: Sequence[Message]) -> Outcome[Parsed]:
        outcome = super().parse(messages)
        self.batches.append({parsed.logic_version for parsed in outcome.ok})
        return outcome


def second(number: int, machine: str) -> Record:
    """An engine's speed, and that its oil pressure is at fault."""
    speeds = frames(10, T + number * SECOND)
    fault = frames(1, T + number * SECOND + 500_000, arbitration_id=0x98FECA00)
    fault.data[0] = DM1
    return can_record(number + 1, FrameBatch.concat([speeds, fault]), chassis_id=machine)


async def has_decoded(logic: Noting, revision: int) -> None:
    """Something, while more may wait on the log."""
    async with asyncio.timeout(30):
        while {revision} not in logic.batches:
            await asyncio.sleep(0.01)


async def test_each_row_has_its_version_no_batch_has_two_and_the_newest_replaces(
    on_either: LogAddress, valkey_url: str, store: StoreProcess
) -> None:
    store_url = f"http://127.0.0.1:{store.port}/changes_{uuid.uuid4().hex[:8]}"
    migrate(connect(store_url))
    stream = [[second(number, name) for name in MACHINES] for number in range(SECONDS)]
    logic, changes = Noting(knowledge(1)), sorted(random.Random(SEED).sample(range(SECONDS), CHANGES))
    async with running_pipes(on_either, valkey_url, store_url, logic) as pipes:
        for number, messages in enumerate(stream):
            await pipes.send(*messages)
            if number in changes:
                await has_decoded(logic, logic.knowledge.revision)
                logic.use(knowledge(logic.knowledge.revision + 1))
        await pipes.idle()
        found, counts = pipes.rows(VERSIONS), pipes.rows(COUNTS)
        assert [(name, len(versions)) for name, versions in found] == [(name, 1) for name in MACHINES for _ in stream]
        for name in MACHINES:
            versions = [one[0] for machine, one in found if machine == name]
            assert versions == sorted(versions)
        assert {one[0] for _, one in found} == set(range(1, NEWEST + 1))
        for revision in (NEWEST, 1):  # replayed by the newest; and by a processor that is behind
            logic.use(knowledge(revision))
            await pipes.send(*(message for messages in stream for message in messages))
            await pipes.idle()
            assert pipes.rows(VERSIONS) == [(name, [NEWEST]) for name in MACHINES for _ in stream]
            assert pipes.rows(COUNTS) == counts
    assert all(len(versions) == 1 for versions in logic.batches)
