"""How the loops that touch every frame are compiled: by numba, on first call, for this process and the next."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])
_PACKAGE = Path(__file__).parent


def kernel(function: Function) -> Function:
    """Compiled on first call, kept on disk for the next process; runs without the interpreter lock.

    numba compiles what a kernel calls into it, but looks only at the kernel's own file when it asks whether what it
    kept is still good. So the stamp it compares is that of all files the kernel may call or take a number from.
    """
    compiled: Any = numba.njit(cache=True, nogil=True)(function)
    compiled._cache._cache_file._source_stamp = _stamp(function.__module__.split(".")[1])
    return cast(Function, compiled)


def inlined(function: Function) -> Function:
    """Becomes part of the kernel that calls it: a call would pass, and count references to, every array of a table."""
    compiled: Any = numba.njit(inline="always")(function)
    return cast(Function, compiled)


@cache
def _stamp(part: str) -> tuple[tuple[int, int], ...]:
    """Times and sizes of the files of a part of the package, and of the decoder's, which others build upon."""
    files = {f for folder in ("parsing", part) for f in (_PACKAGE / folder).rglob("*.py")}
    return tuple((s.st_mtime_ns, s.st_size) for s in (f.stat() for f in sorted(files)))
