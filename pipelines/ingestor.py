"""The ingestor: this process' machines -> raw log and live stream.

python pipelines/ingestor.py [--machine NAME ...] [--replay NAME=LOG ...] [--history SECONDS] [--speed X] [--once]
"""

import argparse
from pathlib import Path

from duco_workbench import knowledge, parsing, pulse, runtime
from duco_workbench.local.feeds import Feeds
from duco_workbench.parsing.logic import ManifestLogic
from duco_workbench.settings import Settings


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machine", action="append", default=[], help="a simulated machine of this name")
    parser.add_argument("--replay", action="append", default=[], metavar="NAME=LOG", help="a log played as NAME")
    parser.add_argument("--history", type=int, default=600, help="seconds of the past to have written")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--once", action="store_true", help="play logs once instead of in a loop")
    return parser.parse_args()


async def work(stop: runtime.Stop) -> None:
    settings, chosen = Settings.load(), options()
    logic = ManifestLogic(max_age_days=settings.max_age_days)
    feeds = Feeds(settings, logic, stop, history_s=chosen.history)
    parsing.warm_up()
    async with (
        knowledge.kept(logic, settings.meta_url, stop),
        pulse.beating("ingestor", settings.log_url, lambda: {"revision": logic.knowledge.revision, **feeds.facts()}),
    ):
        replays = [(name, Path(path)) for name, _, path in (pair.partition("=") for pair in chosen.replay)]
        await feeds.run(chosen.machine, replays, speed=chosen.speed, once=chosen.once)


if __name__ == "__main__":
    if not options().replay:  # a log may be an MF4, which takes both of what is hidden
        runtime.slim()
    runtime.main(work)
