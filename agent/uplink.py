"""From the queue to the hub: several messages in flight, deleted only when the hub has confirmed them.

After any failure everything that is not confirmed is sent again, the oldest first, over a new connection. What the hub
may have had already it has then twice, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any, NamedTuple

from duco_workbench.errors import ConfigError

from .clock import AgentClock
from .config import Config, connection_parts
from .keeper import Keeper
from .link import LIFE_S, Link, OnMethod, seen
from .peers import in_words
from .queue import Waiting
from .trouble import LinkLost, Trouble, rival

STABLE_S = 30.0  # a connection that lasted this long was a good one: waiting times begin anew
RIVAL_AFTER = 3  # short connections in a row
RIVAL_WAIT_S = 30.0
POISON_AFTER = 5  # connections in a row that ended on the same message, sent alone …
POISON_S = 3600.0  # … for so long: a bad link looks the same for a while, and a message that is set aside is not sent


class Suspect(NamedTuple):
    """A message on which connections ended, sent alone; ``since``: monotonic seconds."""

    number: int
    times: int
    since: float


Flying = dict[asyncio.Task[None], Waiting]


class Uplink:
    """``run`` until cancelled; it raises for nothing that can mend itself.

    Attributes:
        state: ``"connecting"``, ``"online"``, or ``"waiting"`` between two attempts.
        trouble: what is wrong, or was until shortly ago; None when all is well.
        reconnects: connections made since the start.
    """

    def __init__(
        self, config: Config, keeper: Keeper, clock: AgentClock, on_method: OnMethod, log: logging.Logger
    ) -> None:
        self._hub, self._options = config.hub, config.upload
        self._keeper, self._clock, self._on_method, self._log = keeper, clock, on_method, log
        self._link: Link | None = None
        self._wait_s = self._options.retry_first_s
        self._short = 0  # connections in a row that ended soon after they began
        self._careful: set[int] = set()  # in flight when a connection ended: while one is left, each is sent alone
        self._suspect: Suspect | None = None
        self._since = 0.0
        self._last_trouble: Trouble | None = None
        self.state, self.reconnects = "connecting", 0
        self.connected, self.idle = asyncio.Event(), asyncio.Event()

    @property
    def trouble(self) -> Trouble | None:
        if self.state == "online" and time.monotonic() - self._since > STABLE_S:
            self._last_trouble = None
        return self._last_trouble

    @property
    def is_busy(self) -> bool:
        """There is something to send, and a connection to send it over or one about to be made."""
        return self.state != "waiting" and (self._keeper.filled.is_set() or not self.idle.is_set())

    async def run(self) -> None:
        while True:
            trouble: Trouble | None = None
            try:
                await self._connect_and_send()
            except LinkLost as lost:
                trouble = lost.trouble
            except (ConfigError, ValueError) as error:
                trouble = Trouble("client", str(error))
            except Exception as error:  # no thread, no file to be had …: who does not try again stays silent for ever
                self._log.debug("the connection ended on what nobody expected", exc_info=True)
                trouble = Trouble("client", f"no connection to the hub: {in_words(error)} ({type(error).__name__})")
            if trouble is not None:
                self._note(trouble)
                self.state = "waiting"
                await asyncio.sleep(self._wait_s * random.uniform(0.5, 1.0))
                self._wait_s = min(2 * self._wait_s, max(self._options.retry_last_s, self._wait_s))

    async def reported(self) -> dict[str, Any]:
        """The reported twin as it is. Raises: LinkLost, also while there is no connection."""
        return await self._connected().reported()

    async def report(self, patch: dict[str, Any]) -> None:
        """Patch the reported twin. Raises: LinkLost, also while there is no connection."""
        await self._connected().report(patch)

    def _connected(self) -> Link:
        if self._link is None or not self.connected.is_set():
            raise LinkLost(self._last_trouble or Trouble("away", "not connected yet"))
        return self._link

    # --- one connection

    async def _connect_and_send(self) -> None:
        """Until the connection is lost (raises LinkLost) or old enough to be replaced."""
        self.state = "connecting"
        link = Link(self._hub, self._on_method, self._clock.source, self._log)
        try:
            await link.connect()
            self._online(link)
            await self._keeper.rewind()
            await self._pump(link)
        finally:
            self._link = None
            self.connected.clear()
            self.idle.clear()
            await link.close()

    def _online(self, link: Link) -> None:
        self._link, self.state, self._since = link, "online", time.monotonic()
        self.reconnects += 1
        self._clock.accepted_by_hub()
        self.connected.set()
        self._log.info("connected to %s as %s", link.host, link.device)

    async def _pump(self, link: Link) -> None:
        flying: Flying = {}
        wakers = {asyncio.create_task(link.lost.wait()), asyncio.create_task(self._keeper.filled.wait())}
        try:
            while not link.lost.is_set():
                is_old = time.monotonic() - self._since > LIFE_S
                if is_old and not flying:
                    return
                self._keeper.filled.clear()  # also when nothing may be sent now: what lands wakes this, too
                if not is_old:
                    await self._launch(link, flying)
                self.idle.clear() if flying else self.idle.set()
                await asyncio.wait({*flying, *wakers}, timeout=LIFE_S / 60, return_when=asyncio.FIRST_COMPLETED)
                await self._land(flying)
                if any(waker.done() for waker in wakers) and not link.lost.is_set():
                    wakers = {w for w in wakers if not w.done()} | {asyncio.create_task(self._keeper.filled.wait())}
            raise LinkLost(Trouble("closed", f"{link.host} closed the connection"))
        except LinkLost as lost:
            if lost.trouble.kind == "closed":
                await self._suspect_one({message.number for message in flying.values()})
            raise
        finally:
            for waker in wakers:
                waker.cancel()

    async def _launch(self, link: Link, flying: Flying) -> None:
        """Send the next ones, in order, as many as may be in flight."""
        if self._careful and flying:
            return
        messages = await self._take(flying)
        if not messages and not flying:
            self._careful.clear()
        for message in messages:
            submitted = asyncio.Event()
            task = asyncio.create_task(link.send(message, self._options.send_timeout_s, submitted))
            task.add_done_callback(seen)
            flying[task] = message
            await submitted.wait()

    async def _take(self, flying: Flying) -> list[Waiting]:
        """What may be sent now: realtime messages have room of their own, so that no backlog is in their way."""
        if self._careful:
            return await self._keeper.take(1, 0) or await self._keeper.take(0, 1)
        options, backlog = self._options, [message for message in flying.values() if not message.is_live]
        live, others = len(flying) - len(backlog), options.in_flight - len(backlog)
        room = options.backlog_bytes - sum(len(message.body) for message in backlog)
        if room <= 0:
            others = 0
        return await self._keeper.take(options.realtime_in_flight - live, others, room)

    async def _land(self, flying: Flying) -> None:
        """Forget what is confirmed. Raises: LinkLost when one was not."""
        landed = [task for task in flying if task.done()]
        errors = {flying[task].number: task.exception() for task in landed if task.exception()}
        confirmed = [flying[task].number for task in landed if not task.exception()]
        for task in landed:
            if not isinstance(task.exception(), LinkLost):  # those stay, to be looked at
                del flying[task]
        if confirmed:
            self._careful.difference_update(confirmed)
            self._suspect = None if self._suspect and self._suspect.number in confirmed else self._suspect
            await self._keeper.done(confirmed)
        for number, error in errors.items():
            if not isinstance(error, ValueError):
                assert error is not None
                raise error
            self._log.error("message %d cannot be sent: %s", number, error)
            await self._keeper.set_aside(number)

    # --- what went wrong

    async def _suspect_one(self, numbers: set[int]) -> None:
        """A message the hub cannot take ends every connection; sent alone, it is found and set aside."""
        self._careful |= numbers
        if len(numbers) != 1:
            return
        (number,) = numbers
        known = self._suspect if self._suspect and self._suspect.number == number else None
        known = known or Suspect(number, 0, time.monotonic())
        self._suspect = known._replace(times=known.times + 1)
        if self._suspect.times >= POISON_AFTER and time.monotonic() - known.since >= POISON_S:
            self._suspect, self._short = None, 0
            self._careful.discard(number)
            await self._keeper.set_aside(number)

    def _note(self, trouble: Trouble) -> None:
        """Say what is new about it, and decide how long to wait."""
        was_online, connected_s = self.state == "online", time.monotonic() - self._since
        if was_online and connected_s > STABLE_S:
            self._short, self._wait_s = 0, self._options.retry_first_s
        elif was_online and trouble.kind == "closed" and not self._suspect:
            self._short += 1
        elif not was_online:
            self._short = 0
        if self._short >= RIVAL_AFTER:
            parts = connection_parts(self._hub.connection_string)
            trouble = rival(parts["HostName"], parts["DeviceId"])
            self._wait_s = max(self._wait_s, RIVAL_WAIT_S)
        if self._last_trouble is None or self._last_trouble.kind != trouble.kind:
            self._log.warning("%s", trouble)
        self._last_trouble = trouble
