"""What a database file describes, read once when it is put and kept beside its text.

Reading runs in a process of its own (``python -m duco_workbench.catalog.contents``): the readers take 100 MB and
seconds, and a hostile file must not take the meta API with it. That process holds itself to ``LIMITS`` before it reads
a byte; where the platform has no such limits (Windows) the time it is waited for remains.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from ..errors import ConfigError
from .types import Contents, Signal

TIMEOUT_S = 300.0
CPU_S = 120
MEMORY_BYTES = 2 << 30  # of address space; a database at every bound of parsing.bounds takes less than half
LIMITS = {"RLIMIT_CPU": CPU_S, "RLIMIT_AS": MEMORY_BYTES, "RLIMIT_CORE": 0}
_REFUSED = 2  # how the reader ends when its last line says why
_NO_THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Reader = Callable[[str, str, str], Contents]  # text, format, name


def read(text: str, format: str, name: str) -> Contents:
    """In this process. Raises: ConfigError naming the line where the file is broken, or saying that it is empty."""
    from ..parsing.database import load_text

    database = load_text(text, format, name)
    signals = tuple(_signal(message.name, signal) for message in database.messages for signal in message.signals)
    skipped = tuple(f"{where}: {why}" for where, why in database.skipped)
    if not signals:
        raise ConfigError(
            f"database {name!r} describes no signal{_first(database.skipped)}; give a {format} file that does"
        )
    return Contents(len(database.messages), signals, skipped)


def read_apart(text: str, format: str, name: str) -> Contents:
    """As :func:`read`, in another process. Raises: ConfigError, also when that needs more than ``LIMITS`` allow."""
    arguments = [sys.executable, "-m", __name__, format, name]
    environment = {**os.environ, **_NO_THREADS}  # a thread's stack counts as memory whether it is used or not
    try:
        done = subprocess.run(
            arguments, input=text.encode(), capture_output=True, timeout=TIMEOUT_S, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"database {name!r} took over {TIMEOUT_S:.0f} s to read; give a smaller file") from None
    if done.returncode:
        raise ConfigError(_why(done.returncode, done.stderr, name))
    return from_json(msgspec.json.decode(done.stdout))


def to_json(contents: Contents) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(contents, str_keys=True)
    return plain


def from_json(plain: Any) -> Contents:
    return msgspec.convert(plain, Contents, strict=False)


def _signal(message: str, s: Any) -> Signal:
    return Signal(
        message,
        s.name,
        s.unit or "",
        s.spn,
        s.comment or "",
        s.long_name or "",
        None if s.minimum is None else float(s.minimum),
        None if s.maximum is None else float(s.maximum),
        s.length,
        {int(value): str(label) for value, label in (s.choices or {}).items()},
        s.is_multiplexer,
    )


def _first(skipped: tuple[tuple[str, str], ...]) -> str:
    """The first thing left out, in brackets."""
    if not skipped:
        return ""
    where, why = skipped[0]
    line = where.rpartition(":")[2]
    return f" (line {line}: {why})" if line.isdecimal() else f" ({why})"


def _why(returncode: int, output: bytes, name: str) -> str:
    """What a process that failed says of it, or what can be told from how it ended."""
    lines = output.decode(errors="replace").strip().splitlines()
    if returncode == _REFUSED and lines:
        return lines[-1]
    if returncode < 0:  # killed: by SIGXCPU, or by whoever watches the machine's memory
        return f"database {name!r} took over {CPU_S} s of processor time, or too much memory; give a smaller file"
    return f"database {name!r}: its reader ended with {returncode}: {lines[-1] if lines else 'no word'}"


def limit() -> None:
    """Holds this process to ``LIMITS``, as far as the platform knows them; they cannot be raised again."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, most in LIMITS.items():
        with suppress(AttributeError, OSError, ValueError):  # unknown here, or lower already
            resource.setrlimit(getattr(resource, name), (most, most))


def main() -> int:
    limit()
    # python-can's log writers import asammdf, with pandas, where it is installed: 2 s that no database needs.
    sys.modules["asammdf"] = None  # type: ignore[assignment]
    format, name = sys.argv[1:3]
    try:
        contents = read(sys.stdin.buffer.read().decode(), format, name)
        output = msgspec.json.encode(to_json(contents))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED
    except MemoryError:
        sys.stderr.write(
            f"database {name!r} took over {MEMORY_BYTES >> 30} GB of memory to read; give a smaller file\n"
        )
        return _REFUSED
    sys.stdout.buffer.write(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
