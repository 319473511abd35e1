"""The door takes a request apart without ever reading data as SQL, in time that does not explode."""

import gzip
import time

import lz4.frame
import pytest

from duco_workbench.local.store.encoding import Compressor, choose, decompress
from duco_workbench.local.store.errors import EngineError
from duco_workbench.local.store.requests import Insert, Query, Request


def body(query: bytes, data: bytes = b"", **arguments: str) -> Insert | Query:
    if data:
        return Request.parse({"query": query.decode(), **arguments}, data).body
    return Request.parse(arguments, query).body


@pytest.mark.parametrize("data", [b" \x01", b"\n\x01", b"\t", b"\x0b\x00 FORMAT CSV\n"])
def test_binary_data_keeps_its_first_bytes(data: bytes) -> None:
    found = body(b"INSERT INTO t (a) FORMAT Native\n" + data)
    assert found == Insert("INSERT INTO t (a) ", "Native", data)


@pytest.mark.parametrize(
    ("statement", "settings"),
    [
        (b"INSERT INTO t ", b""),
        (b"insert into TABLE `my db`.`t(1` (`a)b`, c) ", b""),
        (b'/* why */ -- how\n INSERT INTO d."t" (a,\n b) ', b"SETTINGS async_insert = 0 "),
    ],
)
def test_inserts_are_split_where_the_data_begins(statement: bytes, settings: bytes) -> None:
    found = body(statement + settings + b"FORMAT CSV\n1,2")
    assert found == Insert(statement.decode(), "CSV", b"1,2", settings.decode())


def test_data_beside_a_statement_in_the_url() -> None:
    assert body(b"INSERT INTO t FORMAT RowBinary", b"\n\x00") == Insert("INSERT INTO t ", "RowBinary", b"\n\x00")


@pytest.mark.parametrize("statement", ["INSERT INTO t VALUES (1)", "INSERT INTO t SELECT 1", "CREATE TABLE x (a Int8)"])
def test_everything_else_is_a_query(statement: str) -> None:
    assert body(statement.encode()) == Query(statement, "TabSeparated", is_select=False)


def test_format_of_a_result() -> None:
    assert body(b"SELECT 1 FORMAT JSON").format == "JSON"
    assert body(b"SELECT 1 FORMAT Arrow SETTINGS max_threads = 1;").format == "Arrow"
    assert body(b"SELECT 1", default_format="CSV").format == "CSV"
    assert body(b"SELECT 'x FORMAT CSV'").format == "TabSeparated"


def test_a_statement_of_a_megabyte_is_read_at_once() -> None:
    started = time.process_time()
    body(b"INSERT INTO t (" + b"a," * 500_000 + b"b) SELECT 1")
    body(b"-- c\n" * 200_000 + b"(" * 100_000 + b"1")
    assert time.process_time() - started < 2


def test_settings_and_parameters() -> None:
    request = Request.parse({"query": "SELECT 1", "param_a": "x", "max_threads": "1", "wait_end_of_query": "1"}, b"")
    assert (request.settings, request.parameters) == ({"max_threads": "1"}, {"a": "x"})
    with pytest.raises(EngineError, match="Unknown setting"):
        Request.parse({"query": "SELECT 1", "x = 1, y": "2"}, b"")


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip", "deflate"])
def test_compression_both_ways(encoding: str) -> None:
    packer = Compressor(encoding)
    packed = packer.add(b"one ") + packer.add(b"two") + packer.end()
    assert decompress(packed, encoding, 7) == b"one two"
    with pytest.raises(EngineError, match="more than"):
        decompress(packed, encoding, 6)
    with pytest.raises(EngineError):
        decompress(packed[:-3], encoding, 100)
    with pytest.raises(EngineError):
        decompress(b"not packed at all", encoding, 100)


def test_bombs_and_frames_one_after_another() -> None:
    with pytest.raises(EngineError, match="more than"):
        decompress(gzip.compress(b"0" * 3_000_000), "gzip", 1 << 20)
    two = lz4.frame.compress(b"a") + lz4.frame.compress(b"b")
    assert decompress(two, "lz4", 10) == b"ab"


def test_choice_of_the_answers_encoding() -> None:
    assert choose("gzip, deflate, br") == "gzip"
    assert choose("zstd;q=1, lz4") == "lz4"
    assert choose("br") == ""
