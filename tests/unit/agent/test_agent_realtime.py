"""The direct method that turns the realtime mode on and off."""

from __future__ import annotations

from typing import Any

import pytest

from agent.realtime import LASTS, METHOD, Realtime

NOW = 1_760_000_000_000_000


class Time:
    """Both clocks, by hand."""

    def __init__(self) -> None:
        self.at = 0

    def realtime(self) -> Realtime:
        return Realtime(lambda: self.at, lambda: NOW + self.at)


def start(realtime: Realtime, action: str = "start") -> tuple[int, dict[str, Any]]:
    return realtime.invoke(METHOD, {"action": action, "reason": "user_action", "commandId": "c-1"})


def test_start_turns_it_on_for_three_minutes() -> None:
    time = Time()
    realtime = time.realtime()
    assert not realtime.is_on
    assert start(realtime) == (200, {"accepted": True, "commandId": "c-1", "on": True, "until": NOW + 180_000_000})
    time.at = LASTS - 1
    assert realtime.is_on
    time.at = LASTS
    assert (realtime.is_on, realtime.until) == (False, None)


def test_another_start_prolongs_it() -> None:
    time = Time()
    realtime = time.realtime()
    start(realtime)
    time.at = LASTS - 1
    start(realtime)
    time.at = 2 * LASTS - 2
    assert realtime.is_on
    assert realtime.until == NOW + 2 * LASTS - 1


def test_stop_ends_it_at_once_and_twice_is_no_error() -> None:
    realtime = Time().realtime()
    start(realtime)
    for _ in range(2):
        assert start(realtime, "stop") == (200, {"accepted": True, "commandId": "c-1", "on": False, "until": None})


@pytest.mark.parametrize(
    "payload",
    [None, 3, "start", [], {}, {"action": "toggle"}, {"action": None}, {"action": "start", "commandId": 7}],
)
def test_a_payload_that_says_nothing_clear_is_refused_with_a_sentence(payload: Any) -> None:
    realtime = Time().realtime()
    status, answer = realtime.invoke(METHOD, payload)
    assert (status, answer["accepted"], realtime.is_on) == (400, False, False)
    assert '"action"' in answer["error"]


def test_an_unknown_method_is_told_what_there_is() -> None:
    status, answer = Time().realtime().invoke("reboot", None)
    assert status == 404
    assert "reboot" in answer["error"]
    assert METHOD in answer["error"]


def test_more_in_the_payload_than_needed_is_ignored() -> None:
    status, _ = Time().realtime().invoke(METHOD, {"action": "start", "commandId": "x", "viewer": 3})
    assert status == 200
