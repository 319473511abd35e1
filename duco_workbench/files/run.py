"""The loop: frames are read, counted and decoded here, and written by a thread beside it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..columns import Samples
from ..errors import ConfigError
from ..survey.bindings import Databases
from ..survey.reading import Recording
from . import target
from .decoding import BusDecoders
from .mf4 import Mf4Sink
from .selection import Selection
from .sinks import OPEN, LongSink, Sink, WideSink
from .summary import Summary, Summing
from .tally import Tally
from .wide import Columns

SUFFIXES = (*OPEN, ".mf4")
_AHEAD = 2  # chunks that wait for the disk


@dataclass(frozen=True, slots=True)
class Output:
    """A file, or with ``is_wide`` a folder of one file a message (an MF4 is wide in one file)."""

    path: Path
    suffix: str
    is_folder: bool
    force: bool = False

    @classmethod
    def named(cls, path: Path, is_wide: bool, force: bool) -> Output:
        """The suffix says the format; a folder takes its name without it, and holds Parquet unless it says CSV.

        Raises: ConfigError for a suffix of no format.
        """
        suffix = path.suffix.lower()
        if is_wide and suffix not in SUFFIXES:
            return cls(path, ".parquet", True, force)
        if suffix not in SUFFIXES:
            raise ConfigError(f"-o {path}: the name must end in {', '.join(SUFFIXES)}, which says the format")
        is_folder = is_wide and suffix != ".mf4"
        return cls(path.with_suffix("") if is_folder else path, suffix, is_folder, force)


def decode_recording(
    recording: Recording,
    databases: Databases,
    globs: list[str],
    output: Output | None,
    on_progress: Callable[[float, int], None] = lambda share, frames: None,
) -> Summary:
    """Decode all of ``recording`` and write it, unless ``output`` is None.

    Args:
        globs: of wanted signals; all when empty.
        on_progress: is told the share of bytes read (0..1) and the frames so far, once a chunk.

    Raises: ConfigError when a glob matches nothing, or the output cannot be written; nothing is left of it then.
    """
    begin = time.perf_counter()
    selection = Selection(globs, databases.files.values())
    decoders, tally = BusDecoders(databases, selection), Tally()
    with _sink(output, databases, selection) as write:
        frames = 0
        for path, batch in recording:
            tally.add_frames(path, batch)
            for part in decoders.decode(batch):
                tally.add_decoded(part)
                for text in part.texts:
                    if selection.has(text.signal):
                        tally.add_text(text)
                samples = selection.samples(part.samples)
                tally.add_samples(samples)
                write(samples)
            frames += len(batch)
            on_progress(recording.progress(), frames)
    for part in decoders.end():
        tally.add_decoded(part)
    tally.end_log()
    summing = Summing(tally, databases, selection)
    return summing.summary(recording, time.perf_counter() - begin, str(output.path) if output else "")


@contextmanager
def _sink(output: Output | None, databases: Databases, selection: Selection) -> Iterator[Callable[[Samples], None]]:
    """What writes samples; the file is in its place when the block has ended well."""
    if output is None:
        yield lambda samples: None
        return
    with ExitStack() as stack:
        place = (
            target.complete_folder(output.path, output.suffix)
            if output.is_folder
            else target.complete_file(output.path)
        )
        sink = _open(output, stack.enter_context(place), databases, selection)
        stack.callback(sink.close)
        with _beside(sink) as write:
            yield write
        sink.finish()


def _open(output: Output, path: Path, databases: Databases, selection: Selection) -> Sink:
    if not output.is_folder and output.suffix != ".mf4":
        return LongSink(path, output.suffix)
    columns = Columns(databases.files.values(), selection)
    return WideSink(path, output.suffix, columns) if output.is_folder else Mf4Sink(path, columns)


@contextmanager
def _beside(sink: Sink) -> Iterator[Callable[[Samples], None]]:
    """``sink.write`` on a thread of its own, a few chunks behind; its failure is raised here."""
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "writer") as thread:

        def write(samples: Samples) -> None:
            if len(waiting) == _AHEAD:
                waiting.popleft().result()
            waiting.append(thread.submit(sink.write, samples))

        try:
            yield write
            while waiting:
                waiting.popleft().result()
        except BaseException:
            for future in waiting:
                future.cancel()
            raise
