"""Loss, duplicates and marks on a real store, log and hub: each thing is broken on purpose and must be told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from flow_kit import EPOCH, Flow, fresh_flow

from duco_workbench import health
from duco_workbench.errors import ServiceError
from duco_workbench.iothub.service import HubService, UnknownDevice
from duco_workbench.local.store.process import StoreProcess
from duco_workbench.model import DeadLetter

NETWORK = 16


@pytest.fixture
def flow(store: StoreProcess, valkey_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Flow]:
    with fresh_flow(store, request.node.originalname, valkey_url, tmp_path, NETWORK) as flow:
        yield flow


def read(flow: Flow, **changes: Any) -> dict[str, Any]:
    return health.read(flow.settings.model_copy(update=changes))


def counted(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["lost"], found["in_flight"], found["explained"]


def machine(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(m for m in found["machines"] if m["chassis_id"] == name)


def hop(found: dict[str, Any], name: str, msg_type: str) -> dict[str, Any]:
    return next(h for h in found["hops"] if (h["name"], h["msg_type"]) == (name, msg_type))


def test_a_whole_flow_has_lost_nothing_and_every_hop_says_how_far_it_is(flow: Flow) -> None:
    flow.carry("m1", range(1, 101))
    flow.carry("m2", range(1, 51))
    for name, seq in (("m1", 100), ("m2", 50)):
        flow.agent(name, queue={"seq": seq})
    found = read(flow)
    assert counted(found) == (0, 0, 0)
    assert (found["duplicates"], found["redelivered"], found["dead_letters"]) == (0, 0, {})
    assert found["troubles"] == {} == found["notes"]
    for name in ("hub", "raw", "parsed", "distributed", "stored"):
        events = hop(found, name, "vehicle_event")
        assert (events["count"], [m["seq"] for m in events["machines"]]) == (75, [100, 50])
        assert {m["epoch"] for m in events["machines"]} == {EPOCH}
    assert [m["seq"] for m in hop(found, "sent", "*")["machines"]] == [100, 50]
    assert 0 <= machine(found, "m1")["age_s"] < 60
    assert 50 <= machine(found, "m2")["age_s"] < 110
    assert not list(health.sentences(found))


def test_a_removed_row_is_lost_and_it_says_which(flow: Flow) -> None:
    flow.carry("m1", range(1, 101))
    flow.agent("m1", queue={"seq": 100})
    flow.sql(f"DELETE FROM raw_data_cache_store WHERE message_id = 'm1:{EPOCH}:42'")
    found = read(flow)
    assert counted(found) == (1, 0, 0)
    assert machine(found, "m1")["missing"] == [f"{EPOCH}:42"]
    assert list(health.sentences(found)) == [f"m1 lost 1 of its messages: {EPOCH}:42"]


def test_the_last_messages_are_lost_too_once_nothing_is_on_the_way(flow: Flow) -> None:
    flow.carry("m1", range(1, 99))
    flow.carry("m1", [99, 100], to=["raw", "parsed", "distributed"])
    flow.agent("m1", queue={"seq": 100})
    assert machine(read(flow), "m1")["missing"] == [f"{EPOCH}:99–100"]
    flow.behind(1)  # now they may be among what the processor has still to read
    assert counted(read(flow)) == (0, 2, 0)


@pytest.mark.parametrize("to", [[], ["raw"]])
def test_what_is_on_the_way_is_not_lost(flow: Flow, to: list[str]) -> None:
    """At the hub only; or on the raw log, which the processor has not read."""
    flow.carry("m1", range(1, 91))
    flow.carry("m1", range(91, 101), to=to)
    flow.agent("m1", queue={"seq": 100})
    flow.behind(len(to))
    assert counted(read(flow)) == (0, 10, 0)


def test_what_waits_in_the_agents_queue_is_not_lost(flow: Flow) -> None:
    """Realtime messages overtake what waits: the gap is far below the highest."""
    flow.carry("m1", [*range(1, 11), *range(81, 101)])
    flow.agent("m1", queue={"seq": 100, "depth": 70, "first": 11})
    assert counted(read(flow)) == (0, 70, 0)
    flow.agent("m1", queue={"seq": 100, "depth": 70, "first": None})  # an agent that does not say what waits
    assert counted(read(flow)) == (0, 70, 0)
    flow.agent("m1", queue={"seq": 100})
    assert counted(read(flow)) == (70, 0, 0)


def test_a_backlog_at_the_hub_that_live_messages_overtook_is_not_lost(flow: Flow) -> None:
    """410 is through; then the ingestor is gone, and the hub confirms 61 to 100, which are lower than what it had."""
    flow.carry("m1", [*range(1, 61), *range(101, 411)])
    flow.carry("m1", range(61, 101), to=[])
    flow.agent("m1", queue={"seq": 410})
    assert counted(read(flow)) == (0, 40, 0)
    flow.ingested()  # as if it had put them on the log, where they are not
    assert counted(read(flow)) == (40, 0, 0)


def test_a_drop_that_is_told_and_waits_at_the_distributor_is_not_lost(flow: Flow) -> None:
    """The archive has the event, as number 60, and even later ones; its content is not in the store yet."""
    flow.carry("m1", [*range(1, 41), *range(51, 71)], to=["raw", "parsed", "stored"])
    flow.agent("m1", queue={"seq": 65})
    with redis.Redis.from_url(flow.settings.log_url) as client:
        client.xadd("parsed:0", {"body": b""})
    assert counted(read(flow)) == (0, 10, 0)
    flow.carry("m1", range(51, 71), to=["distributed"], hub=False)
    assert counted(read(flow)) == (10, 0, 0)


def test_what_waits_under_an_old_epoch_is_in_flight(flow: Flow) -> None:
    """The queue was salvaged: what is left of the old epoch has no report of its own."""
    flow.carry("m1", [*range(1, 11), 15])
    flow.carry("m1", range(1, 4), epoch=EPOCH + 9)
    new = {"epoch": EPOCH + 9, "seq": 5}
    flow.agent("m1", queue={**new, "depth": 4, "first": 4})
    assert counted(read(flow)) == (0, 6, 0)
    flow.carry("m1", range(11, 13), to=[])  # two have come as far as the hub
    flow.agent("m1", queue=new)
    assert counted(read(flow)) == (0, 6, 0)
    flow.carry("m1", [4, 5, 6], epoch=EPOCH + 9)
    assert counted(read(flow)) == (4, 0, 0)
    waiting = {"epoch": EPOCH + 9, "seq": 6, "depth": 1, "first": 7}
    flow.agent("m1", queue={**waiting, "older": 1})
    assert counted(read(flow)) == (0, 4, 0)
    flow.agent("m1", queue={**waiting, "first": 6, "older": 0})  # what waits is new
    assert counted(read(flow)) == (4, 0, 0)


def test_a_later_message_in_the_store_proves_a_gap_while_others_are_still_coming(flow: Flow) -> None:
    flow.carry("m1", [*range(1, 50), *range(51, 101)])
    flow.carry("m1", [101], to=[])
    flow.agent("m1", queue={"seq": 99})
    assert counted(read(flow)) == (1, 0, 0)
    flow.agent("m1", queue={"seq": 101})  # a newer report, which the store has not caught up with
    assert counted(read(flow)) == (0, 2, 0)


def test_dead_letters_and_told_drops_explain_gaps(flow: Flow) -> None:
    flow.carry("m1", [n for n in range(1, 101) if n not in (10, 20, 30, 40, 51, 52, 53)])
    flow.agent("m1", queue={"seq": 100})
    flow.refuse(DeadLetter(flow.message("m1", 10), "store_refused"))
    flow.sql(f"""INSERT INTO events SELECT 'demo', 'm1', now64(6), 'm1:{EPOCH}:21', 0, 'drop', 'error',
                 '{{"count":1,"reason":"too_large","messages":["m1:{EPOCH}:20"]}}', 1, 0""")
    flow.sql(f"""INSERT INTO events SELECT 'demo', 'm1', now64(6), 'm1:{EPOCH}:54', 0, 'drop', 'error',
                 '{{"count":3,"reason":"too_old","epoch":{EPOCH},"runs":[[51,52],[53,53]]}}', 1, 0""")
    unreadable = flow.message("m1", 30, message_id="3:17", body=b"\x00garbage")
    flow.store(unreadable)
    flow.refuse(DeadLetter(unreadable, "malformed_json"))
    found = read(flow)
    assert counted(found) == (1, 0, 6)
    assert found["dead_letters"] == {"malformed_json": 1, "store_refused": 1}
    assert (
        80 < found["refused_s"]["store_refused"] < 150
    )  # the tenth message was enqueued 90 s before the flow was made
    said = list(health.sentences(found))
    assert any(s.startswith("1 dead letter, store_refused, for ") for s in said)
    assert any(s.endswith("`duco dead-letters list --reason malformed_json`") for s in said)
    assert (machine(found, "m1")["dead_letters"], machine(found, "m1")["messages"]) == (2, 94)


def test_delivered_twice_is_redelivered_and_not_doubled(flow: Flow) -> None:
    flow.carry("m1", range(1, 101))
    flow.carry("m1", range(90, 101))
    flow.agent("m1", queue={"seq": 100})
    found = read(flow)
    assert (found["lost"], found["duplicates"], found["redelivered"]) == (0, 0, 11)
    assert hop(found, "stored", "vehicle_event")["count"] == 50


def test_an_id_that_two_rows_share_is_a_duplicate(flow: Flow) -> None:
    """Another ts is another key: FINAL shows both."""
    flow.carry("m1", range(1, 101))
    flow.store(flow.message("m1", 50, ts=flow.now))
    assert read(flow)["duplicates"] == 1


def test_epochs_that_no_agent_reports_are_judged_by_their_gaps_alone(flow: Flow) -> None:
    """An import, and a past that was written after the agent had begun and so has the higher epoch."""
    flow.carry("m1", range(50, 101))
    flow.carry("m1", [1, 2, 4], to=["parsed", "distributed", "stored"], epoch=EPOCH + 5, hub=False)
    flow.carry("old", [7, 9], to=["parsed", "distributed", "stored"], epoch=12345, hub=False)
    flow.agent("m1", queue={"seq": 100})
    found = read(flow)
    assert machine(found, "m1")["missing"] == [f"{EPOCH + 5}:3"]
    assert machine(found, "old")["missing"] == ["12345:8"]
    assert counted(found) == (2, 0, 0)
    stored = hop(found, "stored", "vehicle_event")["machines"][0]
    assert (stored["epoch"], stored["seq"]) == (EPOCH, 100)


def test_nothing_stored_of_an_agent_is_said_and_not_counted_as_lost(flow: Flow) -> None:
    flow.carry("m1", range(1, 11), to=["raw", "parsed", "distributed"])
    flow.agent("m1", queue={"seq": 10})
    found = read(flow)
    assert counted(found) == (0, 10, 0)
    assert "sent 10 messages of which the store has none" in machine(found, "m1")["note"]


def test_what_agents_say_of_themselves_is_shown(flow: Flow) -> None:
    flow.carry("m1", range(1, 101))
    states = {"buses": {"can0": "up", "can1": "no such device"}, "realtime": {"on": True}}
    flow.agent("m1", queue={"seq": 120, "depth": 20, "first": 101}, drops={"queue_full": 3}, **states)
    flow.agent("odd", queue={"seq": "seven"})
    flow.agent("new")
    found = read(flow)
    shown = machine(found, "m1")
    assert (shown["waiting"], shown["realtime"], shown["connected"]) == (20, True, False)
    assert health.state_of(shown) == "offline, collecting, realtime, 20 waiting"
    assert shown["trouble"] == "can1: no such device"
    assert found["drops"] == {"machines": {"m1": {"queue_full": 3}}, "realtime": 0}
    assert "its report cannot be read" in machine(found, "odd")["trouble"]
    assert machine(found, "new")["age_s"] is None
    assert counted(found) == (0, 20, 0)


AWAY = "127.0.16.254:1"
SECTIONS: dict[str, Callable[[Flow], dict[str, str]]] = {
    "store": lambda flow: {"store_url": f"http://{AWAY}/duco"},
    "log": lambda flow: {"log_url": f"redis://{AWAY}/0"},
    "hub": lambda flow: {"hub": flow.settings.hub.replace(flow.hub.identity.address, "127.0.16.254")},
}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_part_that_is_away_costs_its_own_section_only(flow: Flow, section: str) -> None:
    flow.carry("m1", range(1, 101))
    flow.agent("m1", queue={"seq": 100})
    flow.sql(f"DELETE FROM raw_data_cache_store WHERE message_id = 'm1:{EPOCH}:42'")
    found = read(flow, **SECTIONS[section](flow))
    assert "does not answer" in found["troubles"][section]
    names = {h["name"] for h in found["hops"]}
    gone = {"store": {"stored", "samples"}, "log": {"raw", "parsed", "distributed"}, "hub": {"sent", "hub"}}
    assert names == {"sent", "hub", "raw", "parsed", "distributed", "stored", "samples"} - gone[section]
    assert found["lost"] == (None if section == "store" else 0)
    assert found["in_flight"] == (None if section == "store" else 1)  # without all three nobody can say that it is lost
    assert list(health.sentences(found))


def test_a_hub_that_refuses_the_key_or_is_not_named(flow: Flow) -> None:
    flow.carry("m1", range(1, 11))
    other = flow.settings.hub.partition("SharedAccessKey=")[0] + "SharedAccessKey=c29tZSBvdGhlciBrZXk="
    assert "refuses the key" in read(flow, hub=other)["troubles"]["hub"]
    assert "DUCO_HUB is not set" in read(flow, hub="")["notes"]["hub"]


def test_a_hub_without_our_count_as_azures_leaves_its_hop_out(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    call = HubService.call

    def without_ours(self: HubService, method: str, path: str, *rest: Any, **named: Any) -> Any:
        if path.startswith("/duco/"):
            raise UnknownDevice(f"{path}: not found")
        return call(self, method, path, *rest, **named)

    monkeypatch.setattr(HubService, "call", without_ours)
    flow.carry("m1", [*range(1, 50), *range(51, 101)])
    flow.agent("m1", queue={"seq": 99})
    found = read(flow)
    assert "keeps no count" in found["notes"]["hub"]
    assert not found["troubles"]
    assert "hub" not in {h["name"] for h in found["hops"]}
    assert counted(found) == (1, 0, 0)
    flow.agent("m1", queue={"seq": 100})  # its last word: nobody can say that the store has all it had sent by then
    assert counted(read(flow)) == (0, 1, 0)


def test_nothing_at_all_is_one_sentence(flow: Flow) -> None:
    changes = {name: value for make in SECTIONS.values() for name, value in make(flow).items()}
    with pytest.raises(ServiceError, match="nothing answers"):
        read(flow, **changes)


def test_ten_machines_and_many_messages_are_counted_in_the_store(flow: Flow) -> None:
    """A fifth of a million rows, one of them missing: only its machine is looked at number by number."""
    flow.sql(f"""INSERT INTO raw_data_cache_store
        SELECT
            'demo', 'm' || toString(number % 10) AS c, 'vehicle_can', c || ':{EPOCH}:' || toString(intDiv(number, 10)),
            now64(6) - INTERVAL (200000 - number) MILLISECOND AS t, t, t, 'x', 0, number, 1
        FROM numbers(200000) WHERE number != 100003""")
    found = read(flow)
    assert counted(found) == (1, 0, 0)
    assert machine(found, "m3")["missing"] == [f"{EPOCH}:10000"]
    assert hop(found, "stored", "vehicle_can")["count"] == 199_999
