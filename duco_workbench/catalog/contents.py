"""What a database file describes, read once when it is put and kept beside its text.

Reading runs in a process of its own (``python -m duco_workbench.catalog.contents``): the readers take 100 MB and
seconds, and a hostile file must not take the meta API with it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from ..errors import ConfigError
from .types import Contents, Signal

TIMEOUT_S = 300.0

Reader = Callable[[str, str, str], Contents]  # text, format, name


def read(text: str, format: str, name: str) -> Contents:
    """In this process. Raises: ConfigError naming the line where the file is broken, or saying that it is empty."""
    from ..parsing.database import load_text

    database = load_text(text, format, name)
    signals = tuple(_signal(message.name, signal) for message in database.messages for signal in message.signals)
    skipped = tuple(f"{where}: {why}" for where, why in database.skipped)
    if not signals:
        raise ConfigError(f"database {name!r} describes no signal{_first(skipped)}; give a {format} file that does")
    return Contents(len(database.messages), signals, skipped)


def read_apart(text: str, format: str, name: str) -> Contents:
    """As :func:`read`, in another process. Raises: ConfigError."""
    arguments = [sys.executable, "-m", __name__, format, name]
    try:
        done = subprocess.run(arguments, input=text.encode(), capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"database {name!r} took over {TIMEOUT_S:.0f} s to read; give a smaller file") from None
    if done.returncode:
        raise ConfigError(_last_line(done.stderr) or f"database {name!r}: its reader ended with {done.returncode}")
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


def _first(skipped: tuple[str, ...]) -> str:
    return f" ({skipped[0]})" if skipped else ""


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def main() -> int:
    # python-can's log writers import asammdf, with pandas, where it is installed: 2 s that no database needs.
    sys.modules["asammdf"] = None  # type: ignore[assignment]
    format, name = sys.argv[1:3]
    try:
        contents = read(sys.stdin.buffer.read().decode(), format, name)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.buffer.write(msgspec.json.encode(to_json(contents)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
