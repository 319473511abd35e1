"""ClickHouse for one laptop: the chDB engine behind a small HTTP door on loopback.

chDB (ClickHouse as a library) locks its data to one process and cannot open its own HTTP listener. This package is that
one process: it speaks enough of ClickHouse's HTTP interface that an unmodified ``clickhouse_connect.get_client(host,
port)`` in any other process works.

::

    client ──HTTP──► server.py ──► requests.py (taken apart) ──► execution.py (run, streamed) ──► engine.py (chDB)
"""
