"""Pulses: processes of one name side by side, and one that was killed."""

from __future__ import annotations

import redis

from duco_workbench import pulse


async def heard(url: str, count: int) -> list[dict[str, object]]:
    while len(found := await pulse.read_all("processor", url)) != count:
        pass
    return found


async def test_each_of_several_is_heard_and_the_one_furthest_behind_speaks_for_all(fresh_valkey: str) -> None:
    assert await pulse.read("processor", fresh_valkey) is None
    async with pulse.beating("processor", fresh_valkey, lambda: {"revision": 8}):
        async with pulse.beating("processor", fresh_valkey, lambda: {"revision": 7}):
            assert {beat["revision"] for beat in await heard(fresh_valkey, 2)} == {7, 8}
            found = await pulse.read("processor", fresh_valkey)
            assert found is not None
            assert found["revision"] == 7
        assert [beat["revision"] for beat in await heard(fresh_valkey, 1)] == [8]
    assert await pulse.read("processor", fresh_valkey) is None


async def test_one_that_was_killed_is_forgotten_by_those_that_live(fresh_valkey: str) -> None:
    with redis.Redis.from_url(fresh_valkey) as client:
        client.hset(pulse.pulse_key("processor"), "killed", '1000000000000 {"revision":1}')
        async with pulse.beating("processor", fresh_valkey, lambda: {"revision": 8}):
            while client.hexists(pulse.pulse_key("processor"), "killed"):
                await pulse.read("processor", fresh_valkey)
            assert [beat["revision"] for beat in await pulse.read_all("processor", fresh_valkey)] == [8]
            assert 0 < client.ttl(pulse.pulse_key("processor")) <= pulse.LIFE_S
