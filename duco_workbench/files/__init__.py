"""Logs and databases in, files for pandas, polars, DuckDB or a measurement tool out: what ``duco decode`` does.

::

    Recording ─► Census (counts) ─► BusDecoders ─► Samples ─► long.Rows: one table       ─► Parquet, CSV
                                        │                └──► wide.Columns: one a message ─► Parquet, CSV, MF4
                                        └─► Tally ─► Summary ─► page, JSON
"""
