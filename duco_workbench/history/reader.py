"""Questions to ClickHouse, each a parametrised statement; see the package for how times and signals are given."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import timedelta
from typing import Any, Protocol

import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError

from ..errors import ConfigError, DataError, ServiceError
from ..model import STATUS_NAMES, Record
from ..sinks.clickhouse import StoreClient, reported, said
from .signals import Signals, Wanted, is_among
from .tables import Rows, duration, fill_forward, microseconds

DEFAULT_URL = "http://127.0.0.1:8123/duco"  # the embedded stack's
LOOK_BACK = 600_000_000  # microseconds before a range in which the value it begins with is looked for

# Reading never writes, nor opens files of the server. Strings of few values stay dictionaries.
_READING = {"readonly": 1, "output_format_arrow_low_cardinality_as_dictionary": 1}

# Syntax, unknown names and functions, wrong types and parameters, writing.
_QUESTION_CODES = frozenset({6, 36, 42, 43, 46, 47, 53, 62, 115, 164, 184, 215, 386, 456, 457})


class HasStore(Protocol):
    """Settings, as far as they matter here."""

    @property
    def store_url(self) -> str: ...


class History:
    """Reads one tenant's data. Threads may share it; nothing connects before the first question."""

    def __init__(self, store: str | HasStore | None = None, tenant: str = "demo") -> None:
        self.url = store if isinstance(store, str) else store.store_url if store else DEFAULT_URL
        self.tenant = tenant
        self._store = StoreClient(self.url)

    def close(self) -> None:
        self._store.close()

    def machines(self) -> Rows:
        """chassis_id, first, last (device time), messages. first and last leave out clocks that were far off."""
        sane = "ts BETWEEN ts_enqueued - INTERVAL 400 DAY AND ts_enqueued + INTERVAL 5 MINUTE"
        return self._read(
            f"""SELECT chassis_id, minIf(ts, {sane}) AS first, maxIf(ts, {sane}) AS last,
                uniqExact(message_id) AS messages
            FROM raw_data_cache_store WHERE tenant = {{tenant:String}} GROUP BY chassis_id ORDER BY chassis_id"""
        )

    def series(self, chassis_id: str) -> Rows:
        """signal, source, first, last, count of every series of a machine."""
        rows = self._read(
            f"SELECT signal, source, min(ts) AS first, max(ts) AS last, count() AS count FROM samples WHERE {_MACHINE} "
            "GROUP BY signal, source ORDER BY signal, source",
            {"chassis_id": chassis_id},
        )
        return self._known(chassis_id, rows)

    def samples(
        self,
        chassis_id: str,
        signals: Signals = None,
        start: Any = None,
        end: Any = None,
        *,
        status: bool = False,
        missing_ok: bool = False,
    ) -> Rows:
        """signal, source, ts, value in the order of series and time, as stored (thinned: first, last, every change).

        Args:
            status: with it a column ``status`` (``ok``, ``not_available``, ``error``, ``out_of_range``) and every value
                as it was read; without it what is not ``ok`` is NaN.
            missing_ok: a named series that was never stored has no rows, instead of being an error.

        Raises: ConfigError for a machine or a named series that is not there, naming what is.
        """
        wanted = Wanted(signals)
        value = "value" if status else "if(status = 'ok', value, nan) AS value"
        where, parameters = self._where(chassis_id, wanted, start, end)
        rows = self._read(
            f"SELECT signal, source, ts, {value}, CAST(status AS Int8) AS code FROM samples "
            f"WHERE {where} ORDER BY tenant, chassis_id, signal, source, ts",
            parameters,
        )
        if not missing_ok:
            self._check_named(chassis_id, wanted, rows)
        table = rows.to_arrow()
        table = _with_status(table) if status else table.drop_columns(["code"])
        return self._known(chassis_id, Rows(table))

    def wide(
        self,
        chassis_id: str,
        signals: Signals,
        start: Any = None,
        end: Any = None,
        every: str | timedelta | int | None = None,
    ) -> Rows:
        """Column ``ts`` and one a series, each with the value it had at that time: forward filled, from up to 10
        minutes before ``start``. A reading that was not ``ok`` is NaN and is not filled over.

        Columns are named ``Message.Signal``, with ``@source`` where a signal comes from several.

        Args:
            every: a row each ``"100ms"``, ``"1s"``, ``"5min"``, timedelta or microseconds: the last value until then.
                Without it, a row at each time any of the series has one.
        """
        first, last = microseconds(start), microseconds(end)
        rows = self.samples(chassis_id, signals, None if first is None else first - LOOK_BACK, last)
        return Rows(fill_forward(rows.to_arrow(), first, last, None if every is None else duration(every)))

    def latest(self, chassis_id: str, signals: Signals = None) -> Rows:
        """signal, source, ts, value, status: the newest row of each series."""
        where, parameters = self._where(chassis_id, Wanted(signals), None, None)
        rows = self._read(
            f"SELECT signal, source, ts, value, CAST(status AS Int8) AS code FROM latest WHERE {where} "
            "ORDER BY signal, source",
            parameters,
        )
        return self._known(chassis_id, Rows(_with_status(rows.to_arrow())))

    def raw(self, chassis_id: str, start: Any = None, end: Any = None, limit: int | None = None) -> list[Record]:
        """The machine's messages as they were received, each once, in the order of ``ts``."""
        where, parameters = self._where(chassis_id, Wanted(None), start, end)
        columns = ", ".join(_RECORD_FIELDS)
        rows = self._read(
            f"SELECT {columns} FROM raw_messages WHERE {where} ORDER BY raw_messages.ts, message_id{_limit(limit)}",
            parameters,
            bodies=True,
        )
        table = self._known(chassis_id, rows).to_arrow()
        for number, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type):
                table = table.set_column(number, field.name, table[field.name].cast(pa.int64()))
        return [Record(**row) for row in table.to_pylist()]

    def dtcs(self, chassis_id: str, start: Any = None, end: Any = None) -> Rows:
        """ts, source, spn, fmi, oc, cm, lamps, message_id: trouble codes as reported."""
        return self._of_machine("dtcs_view", "ts, source, spn, fmi, oc, cm, lamps, message_id", chassis_id, start, end)

    def events(self, chassis_id: str, start: Any = None, end: Any = None) -> Rows:
        """ts, name, severity, data, message_id: events and logged lines."""
        return self._of_machine("events_view", "ts, name, severity, data, message_id", chassis_id, start, end)

    def texts(self, chassis_id: str, start: Any = None, end: Any = None) -> Rows:
        """ts, signal, source, text: identification and text signals."""
        return self._of_machine("texts_view", "ts, signal, source, text", chassis_id, start, end)

    def dead_letters(self, chassis_id: str | None = None, limit: int = 1000) -> Rows:
        """The newest messages that could not be used: ts_ingested, chassis_id, reason, detail, msg_type, message_id,
        ts, body (bytes)."""
        machine = _MACHINE if chassis_id is not None else "tenant = {tenant:String}"
        return self._read(
            "SELECT ts_ingested, chassis_id, reason, detail, msg_type, message_id, ts, body FROM dead_letters_view "
            f"WHERE {machine} ORDER BY ts_ingested DESC, letter{_limit(limit)}",
            {"chassis_id": chassis_id or ""},
            bodies=True,
        )

    def sql(self, query: str, parameters: Mapping[str, Any] | None = None) -> Rows:
        """Any one reading statement; ``{name:Type}`` in it stands for a parameter, ``{tenant:String}`` for the tenant.

        It can neither write nor read the server's files. The tenant is not forced upon it.
        """
        return self._read(query, parameters)

    def _of_machine(self, view: str, columns: str, chassis_id: str, start: Any, end: Any) -> Rows:
        where, parameters = self._where(chassis_id, Wanted(None), start, end)
        order = columns.replace("oc, ", "")  # NULL has no place in an order
        rows = self._read(f"SELECT {columns} FROM {view} WHERE {where} ORDER BY {order}", parameters)
        return self._known(chassis_id, rows)

    def _where(self, chassis_id: str, wanted: Wanted, start: Any, end: Any) -> tuple[str, dict[str, Any]]:
        conditions, parameters = [_MACHINE], {"chassis_id": chassis_id}
        first, last = microseconds(start), microseconds(end)
        for name, sign, limit in (("start", ">=", first), ("end", "<", last)):
            if limit is not None:
                conditions.append(f"ts {sign} fromUnixTimestamp64Micro({{{name}:Int64}}, 'UTC')")
                parameters[name] = limit  # type: ignore[assignment]
        return " AND ".join([*conditions, *wanted.conditions]), {**parameters, **wanted.parameters}

    def _read(self, query: str, parameters: Mapping[str, Any] | None = None, bodies: bool = False) -> Rows:
        """``bodies``: a column ``body`` is bytes, whatever they are; other strings are text."""
        asked = {"tenant": self.tenant, **(parameters or {})}
        settings = {**_READING, "output_format_arrow_string_as_string": int(not bodies)}
        try:
            with reported(self.url), self._store.lend() as client, _question_to_blame():
                stream = client.raw_stream(query, asked, settings, fmt="ArrowStream")
                with stream, pa.ipc.open_stream(stream) as reader:
                    table = reader.read_all()
        except DataError as error:  # it came from the question, not from stored data
            raise ConfigError(error.detail) from None
        except pa.ArrowInvalid as error:
            raise ServiceError(f"the store at {self.url} broke off its answer: {error}") from None
        return Rows(_texts_decoded(table) if bodies else table.unify_dictionaries())

    def _known(self, chassis_id: str, rows: Rows) -> Rows:
        """``rows``, unless there are none because there is no such machine."""
        if not len(rows):
            known = self._names(
                "SELECT DISTINCT chassis_id FROM raw_data_cache_store WHERE tenant = {tenant:String} UNION DISTINCT "
                "SELECT DISTINCT chassis_id FROM ce_technology WHERE tenant = {tenant:String}"
            )
            if chassis_id not in known:
                raise ConfigError(
                    f"tenant {self.tenant!r} has no machine {chassis_id!r}; it has {_some(known) or 'none yet'}"
                )
        return rows

    def _check_named(self, chassis_id: str, wanted: Wanted, rows: Rows) -> None:
        found = rows.to_arrow()["signal"].unique().to_pylist()
        missing = [name for name in wanted.named if not is_among(name, found)]
        if not missing:
            return
        known = self._names(f"SELECT DISTINCT signal FROM ce_technology WHERE {_MACHINE}", chassis_id)
        unknown = [name for name in missing if not is_among(name, known)]
        if known and unknown:
            near = difflib.get_close_matches(unknown[0], known, 5, 0.4)
            hint = f"near it: {', '.join(near)}" if near else f"it has {_some(known)}"
            raise ConfigError(f"machine {chassis_id!r} has no signal {unknown[0]!r}; {hint}")

    def _names(self, query: str, chassis_id: str = "") -> list[str]:
        return sorted(self._read(query, {"chassis_id": chassis_id}).to_arrow().column(0).to_pylist())


_MACHINE = "tenant = {tenant:String} AND chassis_id = {chassis_id:String}"
_RECORD_FIELDS = tuple(field.name for field in fields(Record) if field.name != "replay")


def _with_status(table: pa.Table) -> pa.Table:
    codes = pa.concat_arrays(table["code"].chunks) if table.num_rows else pa.array([], pa.int8())
    named = pa.DictionaryArray.from_arrays(codes, pa.array(STATUS_NAMES))
    return table.set_column(table.column_names.index("code"), "status", named)


def _limit(rows: int | None) -> str:
    return "" if rows is None else f" LIMIT {int(rows)}"


@contextmanager
def _question_to_blame() -> Iterator[None]:
    try:
        yield
    except ClickHouseError as error:
        if getattr(error, "code", None) in _QUESTION_CODES:
            raise ConfigError(f"the store cannot answer this: {said(error)}") from None
        raise


def _texts_decoded(table: pa.Table) -> pa.Table:
    for number, field in enumerate(table.schema):
        if field.name != "body" and (pa.types.is_binary(field.type) or pa.types.is_dictionary(field.type)):
            table = table.set_column(number, field.name, table[field.name].cast(pa.string()))
    return table


def _some(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
