"""Where output goes: under a temporary name beside its place, and there only when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError


def check(out: Path, force: bool, inputs: Iterable[Path], is_folder: bool) -> None:
    """Raises: ConfigError when ``out`` is one of the inputs, is there already, or cannot be made."""
    if any(out.exists() and path.exists() and out.samefile(path) for path in inputs):
        raise ConfigError(f"-o {out} is one of the inputs; give another name")
    if out.exists() and not force:
        raise ConfigError(f"{out} exists; give --force to replace it, or another name")
    if out.exists() and out.is_dir() != is_folder:
        what = ("a folder", "a file") if is_folder else ("a file", "a folder")
        raise ConfigError(f"{what[0]} is to be written, and {out} is {what[1]}; give another name")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {str(out.parent)!r} to write {out.name} to; make it first")


@contextmanager
def complete_file(out: Path) -> Iterator[Path]:
    """A temporary file's name; the file replaces ``out`` when the block ends well, and is removed otherwise."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with _one_sentence(out):
            yield part
            os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def complete_folder(out: Path, suffix: str) -> Iterator[Path]:
    """A temporary folder; its files take the place of those in ``out`` with that suffix when the block ends well."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with _one_sentence(out):
            part.mkdir()
            yield part
            out.mkdir(exist_ok=True)
            for old in out.glob(f"*{suffix}"):
                old.unlink()
            for file in part.iterdir():
                os.replace(file, out / file.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _one_sentence(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}") from error
