"""Which database files explain which bus: what ``--dbc`` says, and the databases themselves, each file read once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..model import bus_name
from ..parsing.database import FORMATS, Database, load

EVERY_BUS = "*"


@dataclass(frozen=True, slots=True)
class Databases:
    """The databases of all buses.

    Attributes:
        files: every database by the name it is printed with (its file's; with its folder where two are alike).
        paths: where each is.
        buses: names of the databases bound to each bus; ``"*"`` for those of every bus.
    """

    files: Mapping[str, Database]
    paths: Mapping[str, Path]
    buses: Mapping[str, Sequence[str]]

    def of(self, bus: str) -> tuple[str, ...]:
        """Names of the databases of a bus: those of every bus, then its own, so that its own win."""
        return tuple(dict.fromkeys([*self.buses.get(EVERY_BUS, ()), *self.buses.get(bus, ())]))

    def merged(self, names: Iterable[str]) -> Database:
        """One database of these, in order; of two messages with one id the later decodes."""
        parts = [self.files[name] for name in names]
        messages = tuple(message for part in parts for message in part.messages)
        return Database(messages, tuple(note for part in parts for note in part.skipped))


def parse_bindings(pairs: Iterable[str]) -> dict[str, list[Path]]:
    """``["1=truck.dbc", "can2=gps.dbc"]``: files by bus; a file alone is bound to every bus (``"*"``).

    A folder stands for the database files in and below it.

    Raises: ConfigError for a file that is missing or of an unknown format, and for a folder without databases.
    """
    bindings: dict[str, list[Path]] = {}
    for pair in pairs:
        bus, equals, name = pair.rpartition("=")
        key = bus_name(bus) if equals and bus != EVERY_BUS else EVERY_BUS
        bindings.setdefault(key, []).extend(_files(Path(name).expanduser(), pair))
    return bindings


def _files(path: Path, pair: str) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and _is_database(file))
        if not found:
            raise ConfigError(f"--dbc {pair}: no file in or below that folder ends in .{', .'.join(FORMATS)}")
        return found
    if not path.is_file():
        raise ConfigError(
            f"--dbc {pair}: there is no file {str(path)!r}; write --dbc BUS=FILE, e.g. --dbc can0=truck.dbc"
        )
    if not _is_database(path):
        raise ConfigError(f"--dbc {pair}: a database is one of {', '.join(FORMATS)}, not {path.suffix!r}")
    return [path]


def _is_database(path: Path) -> bool:
    return path.suffix.lstrip(".").lower() in FORMATS


def load_databases(pairs: Sequence[str], tolerant: bool = False) -> tuple[Databases, list[str]]:
    """The databases that ``--dbc`` options name, and a sentence for each file left out.

    Args:
        tolerant: leave out a file of several that cannot be read, instead of raising: a folder may hold anything.

    Raises: ConfigError for a file that is missing or cannot be read.
    """
    bindings = parse_bindings(pairs)
    names = short_names(dict.fromkeys(path for paths in bindings.values() for path in paths))
    files, refused = {}, []
    for path, name in names.items():
        try:
            files[name] = load(path)
        except ConfigError as error:
            if not tolerant or len(names) == 1:
                raise
            refused.append(f"{error} (left out)")
    buses = {bus: [names[p] for p in paths if names[p] in files] for bus, paths in bindings.items()}
    return Databases(files, {name: path for path, name in names.items()}, buses), refused


def short_names(paths: Iterable[Path]) -> dict[Path, str]:
    """The name of each file, with its folders where another one has the same."""
    paths = list(paths)
    short = [path.name for path in paths]
    return {path: path.name if short.count(path.name) == 1 else str(path) for path in paths}


def shadowed(databases: Databases, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(where, why) of the messages that a later file's message of the same id hides."""
    seen: dict[tuple[bool, int], str] = {}
    for name in names:
        for m in databases.files[name].messages:
            key = (m.is_extended, m.frame_id)
            if key in seen and not seen[key].startswith(f"{name}: "):
                yield f"{seen[key]} (0x{m.frame_id:x})", f"{name}: {m.name} has the same id and comes later"
            seen[key] = f"{name}: {m.name}"
