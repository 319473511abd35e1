"""An unmodified clickhouse_connect client of another process finds a ClickHouse behind the door."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from duco_workbench.local.store.process import StoreProcess, running

T = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
TABLE = "(a UInt32, b LowCardinality(String), t DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY a"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    folder = tmp_path_factory.mktemp("stores") / "a path+with %20 and ünï"
    with running(folder) as process:
        client(process).command("CREATE DATABASE duco ENGINE = Atomic")
        yield process


def client(store: StoreProcess, **options: Any) -> Any:
    return clickhouse_connect.get_client(host="127.0.0.1", port=store.port, **options)


SLOW = "SELECT sum(sleepEachRow(0.25)) FROM numbers({rows}) SETTINGS max_block_size = 1"
ENDLESS = "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(cityHash64(number))"


@contextmanager
def running_query(store: StoreProcess, sql: str, **options: str) -> Iterator[None]:
    """It runs when the block begins, and is given up when that ends."""
    words = {"query": sql, "cancel_http_readonly_queries_on_client_close": "1", **options}
    with closing(http.client.HTTPConnection("127.0.0.1", store.port, timeout=60)) as connection:
        connection.request("POST", "/?" + urllib.parse.urlencode(words))  # a GET has no session
        wait_until(lambda: is_running(store, sql))
        yield
    wait_until(lambda: not is_running(store, sql))


def is_running(store: StoreProcess, sql: str) -> bool:
    found = "SELECT count() > 0 FROM system.processes WHERE startsWith(query, {beginning:String})"
    words = {"query": found, "param_beginning": sql.partition(" SETTINGS")[0]}
    return get(store, "/?" + urllib.parse.urlencode(words)) == (200, "1\n")


def wait_until(true: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def table(store: StoreProcess, name: str) -> str:
    client(store).command(f"CREATE TABLE duco.{name} {TABLE}")
    return name


@pytest.mark.parametrize("compress", [True, False, "lz4", "zstd", "gzip"])
def test_native_arrow_and_frames_both_ways(store: StoreProcess, compress: Any) -> None:
    c, name = client(store, database="duco", compress=compress, tz_mode="aware"), table(store, f"both_{compress}")
    written = c.insert(name, [[i, f"b{i % 3}", T] for i in range(1000)], column_names=["a", "b", "t"])
    assert int(written.written_rows) == 1000
    c.insert_arrow(name, c.query_arrow(f"SELECT a + 1000 AS a, b, t FROM {name}"))
    c.insert_df(name, c.query_df(f"SELECT a + 2000 AS a, b, t FROM (SELECT * FROM {name} WHERE a < 1000)"))
    assert c.query(f"SELECT count(), sum(a), min(t), max(t) FROM {name}").result_rows == [(3000, 4498500, T, T)]
    assert c.query_df(f"SELECT b FROM {name} ORDER BY a")["b"].tolist()[:4] == ["b0", "b1", "b2", "b0"]


def test_parameters_settings_and_commands(store: StoreProcess) -> None:
    c = client(store)
    text = 'it\'s \\ a\ttab,\nline "quote" ünï'
    assert c.query("SELECT {v:String}, {n:Array(Int64)}", parameters={"v": text, "n": [1, -2]}).result_rows == [
        (text, [1, -2])
    ]
    assert c.query("SELECT {v:String}", parameters={"v": "x" * 100_000}).result_rows == [("x" * 100_000,)]  # as a form
    assert c.query("SELECT getSetting('max_threads')", settings={"max_threads": 1}).result_rows == [(1,)]
    assert c.command("SELECT 40 + 2") == 42
    assert c.command("SELECT 'x' WHERE 0") == ""
    assert c.query("SELECT timezone()").result_rows == [("UTC",)]


def test_large_results_come_in_parts_and_small_ones_whole(store: StoreProcess) -> None:
    c = client(store)
    with c.query_row_block_stream("SELECT number, toString(number) FROM numbers(500000)") as blocks:
        sizes = [len(block) for block in blocks]
    assert sum(sizes) == 500_000
    assert len(sizes) > 1
    words = "toLowCardinality(toString(intDiv(number, 1000)))"
    with c.query_arrow_stream(
        f"SELECT number, {words} AS word FROM numbers(500000)",
        settings={"output_format_arrow_low_cardinality_as_dictionary": 1},
    ) as batches:
        arrow = pa.Table.from_batches(list(batches))
    assert arrow["number"].to_pylist() == list(range(500_000))
    assert arrow["word"].cast(pa.string()).to_pylist()[::1000] == [str(i) for i in range(500)]
    with c.query_arrow_stream("SELECT 1 AS x WHERE 0") as batches:
        assert [batch.num_rows for batch in batches] in ([], [0])


def test_sessions_keep_what_they_set_and_requests_do_not_leak_into_them(store: StoreProcess) -> None:
    c, other = client(store, session_id="mine"), client(store, session_id="yours")
    c.command("SET max_block_size = 1234")
    c.command("CREATE TEMPORARY TABLE mine (a Int8)")
    assert c.query("SELECT getSetting('max_block_size')").result_rows == [(1234,)]
    assert c.query("SELECT getSetting('max_block_size')", settings={"max_block_size": 99}).result_rows == [(99,)]
    assert c.query("SELECT getSetting('max_block_size')").result_rows == [(1234,)]
    assert c.query("SELECT count() FROM mine", settings={"readonly": 0}).result_rows == [(0,)]
    assert other.query("SELECT getSetting('max_block_size')").result_rows != [(1234,)]
    with pytest.raises(DatabaseError):
        other.query("SELECT * FROM mine")


def test_a_session_is_one_statement_at_a_time(store: StoreProcess) -> None:
    second = client(store, session_id="busy")
    with running_query(store, SLOW.format(rows=200), session_id="busy"), pytest.raises(DatabaseError) as refused:
        second.query("SELECT 1")
    assert refused.value.code == 373


def test_read_only_requests(store: StoreProcess) -> None:
    name = table(store, "guarded")
    c = client(store, database="duco")
    for settings in ({"readonly": 1}, {"readonly": 2}):
        with pytest.raises(DatabaseError) as refused:
            c.command(f"INSERT INTO {name} VALUES (1, 'x', now())", settings=settings)
        assert refused.value.code == 164
    with pytest.raises(DatabaseError):
        c.query("SELECT * FROM file('/etc/passwd', 'LineAsString')", settings={"readonly": 1})
    status, _ = get(store, f"/?database=duco&query=INSERT+INTO+{name}+VALUES+(1,'x',now())")
    assert status == 403
    c.command(f"INSERT INTO {name} VALUES (1, 'x', now())")  # the session itself is as it was
    assert c.command(f"SELECT count() FROM {name}") == 1


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT * FROM nowhere", 60, 404),
        ("SELEC 1", 62, 400),
        ("SELECT toUInt8('x')", 6, 400),
        ("SELECT 1 SETTINGS no_such = 1", 115, 404),
        ("SELECT {missing:String}", 456, 400),
    ],
)
def test_errors_have_clickhouses_code(store: StoreProcess, sql: str, code: int, status: int) -> None:
    with pytest.raises(DatabaseError) as error:
        client(store).query(sql)
    assert error.value.code == code
    assert get(store, "/?query=" + sql.replace(" ", "+").replace("{", "%7B").replace("}", "%7D"))[0] == status


def test_unknown_database(store: StoreProcess) -> None:
    with pytest.raises(DatabaseError) as error:
        client(store, database="nowhere")
    assert error.value.code == 81


def test_an_error_in_the_middle_is_no_short_result(store: StoreProcess) -> None:
    with pytest.raises(DatabaseError, match="non-zero"):
        len(client(store).query("SELECT number, throwIf(number = 400000) FROM numbers(500000)").result_rows)


def get(store: StoreProcess, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", store.port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_plain_http(store: StoreProcess) -> None:
    assert get(store, "/ping") == (200, "Ok.\n")
    assert get(store, "/") == (200, "Ok.\n")
    assert get(store, "/?query=SELECT+1,'x'") == (200, "1\tx\n")
    assert get(store, "/?query=SELECT+1+FORMAT+JSONEachRow") == (200, '{"1":1}\n')


def test_web_pages_of_elsewhere_are_refused(store: StoreProcess) -> None:
    assert get(store, "/?query=SELECT+1", Origin="https://example.com")[0] == 403
    assert get(store, "/?query=SELECT+1", Host="evil.example.com")[0] == 403
    assert get(store, "/?query=SELECT+1", Origin="http://localhost:5006")[0] == 200


def test_a_body_has_a_limit(store: StoreProcess) -> None:
    status, text = get(store, "/?query=SELECT+1", "POST", **{"Content-Length": str(300 << 20)})
    assert status == 413
    assert "insert in parts" in text


def test_clients_do_not_wait_for_each_other(store: StoreProcess) -> None:
    slow, c = SLOW.format(rows=200), client(store)
    with running_query(store, slow):
        for _ in range(5):
            c.query("SELECT count() FROM system.one")
        assert is_running(store, slow)


def test_many_writers_and_readers_at_once(store: StoreProcess) -> None:
    name = table(store, "crowd")
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            c = client(store, database="duco", compress=False)
            for i in range(5):
                rows = [[number * 1000 + i * 100 + k, "x", T] for k in range(100)]
                c.insert(name, rows, column_names=["a", "b", "t"])
                assert c.command(f"SELECT uniqExact(a) FROM {name}") >= (i + 1) * 100
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert client(store).command(f"SELECT uniqExact(a) FROM duco.{name}") == 4000


def test_an_interrupted_reader_stops_the_query(store: StoreProcess) -> None:
    with running_query(store, ENDLESS):
        pass


def test_the_end_waits_for_what_runs_but_not_for_long(tmp_path: Path) -> None:
    with running(tmp_path) as store:
        c, answers = client(store), []
        query = SLOW.format(rows=12)
        short = threading.Thread(target=lambda: answers.append(c.query(query).result_rows))
        short.start()
        wait_until(lambda: is_running(store, query))
        assert store.stop() == 0
        short.join()
        assert answers == [[(0,)]]
    with running(tmp_path) as store:

        def ask() -> None:
            with pytest.raises(DatabaseError):
                client(store).query(ENDLESS)

        long = threading.Thread(target=ask)
        long.start()
        wait_until(lambda: is_running(store, ENDLESS))
        assert store.stop() == 0  # within 15 s, or it raises
        long.join()


def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    acknowledged = []
    with running(tmp_path) as store:
        client(store).command(f"CREATE TABLE kept {TABLE}")

        def write(number: int) -> None:
            c = client(store)
            try:
                for i in range(10_000):
                    key = number * 10_000 + i
                    c.insert("kept", [[key, "x", T]], column_names=["a", "b", "t"])
                    acknowledged.append(key)
            except Exception:
                return

        threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(acknowledged) > 60)
        store.process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
    with running(tmp_path) as store:
        kept = [row[0] for row in client(store).query("SELECT a FROM kept").result_rows]
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))


def test_what_the_disk_has_no_room_for_is_refused_and_taken_later(store: StoreProcess) -> None:
    c, name = client(store, database="duco"), table(store, "no_room")
    c.command(f"ALTER TABLE {name} MODIFY SETTING min_free_disk_bytes_to_perform_insert = 1000000000000000")
    with pytest.raises(DatabaseError, match="NOT_ENOUGH_SPACE"):
        c.insert(name, [[1, "b", T]], column_names=["a", "b", "t"])
    assert c.command(f"SELECT count() FROM {name}") == 0
    c.command(f"ALTER TABLE {name} RESET SETTING min_free_disk_bytes_to_perform_insert")
    c.insert(name, [[1, "b", T]], column_names=["a", "b", "t"])
    assert c.command(f"SELECT count() FROM {name}") == 1


def test_a_second_store_on_the_folder_or_port_says_so_in_one_sentence(store: StoreProcess, tmp_path: Path) -> None:
    def start(folder: Path, port: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "duco_workbench.local.store", str(folder), "--port", str(port)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    with running(tmp_path) as mine:
        for answer, word in ((start(tmp_path, 0), "another process"), (start(tmp_path / "b", mine.port), "port")):
            assert answer.returncode == 1
            assert word in answer.stderr
            assert "Traceback" not in answer.stderr


def test_curl_which_calls_every_body_a_form(store: StoreProcess) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    request = urllib.request.Request(f"http://127.0.0.1:{store.port}/", b"SELECT 1 + 1", kind)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.read() == b"2\n"
