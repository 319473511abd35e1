-- Decoded values, long: one row a value. Decoded again, a row with a higher logic_version replaces the old one;
-- is_deleted = 1 takes away a value that newer logic does not give.
CREATE TABLE IF NOT EXISTS ce_technology
(
    tenant        LowCardinality(String),
    chassis_id    LowCardinality(String),
    signal        LowCardinality(String),                         -- Message.Signal
    source        LowCardinality(String),                         -- can0, or on J1939 can0:03 (bus, sender)
    ts            DateTime64(6, 'UTC')    CODEC(Delta, ZSTD(1)),
    value         Float64                 CODEC(ZSTD(1)),         -- NaN where status is not ok and there is no number
    status        Enum8('ok' = 0, 'not_available' = 1, 'error' = 2, 'out_of_range' = 3),
    logic_version UInt32,
    is_deleted    UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(logic_version, is_deleted)
PARTITION BY toYYYYMM(ts)
ORDER BY (tenant, chassis_id, signal, source, ts);

-- Read this one: each value once, as the newest logic has it. ts is in the key and makes the partition, so no key is in
-- two partitions and each can be merged alone.
CREATE VIEW IF NOT EXISTS samples AS
SELECT tenant, chassis_id, signal, source, ts, value, status, logic_version
FROM ce_technology FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- The newest row of each series.
CREATE VIEW IF NOT EXISTS latest AS
SELECT
    tenant, chassis_id, signal, source,
    max(sample_ts) AS ts,
    argMax(sample_value, sample_ts) AS value,
    argMax(sample_status, sample_ts) AS status,
    argMax(sample_version, sample_ts) AS logic_version
FROM
(
    SELECT
        tenant, chassis_id, signal, source,
        ts AS sample_ts, value AS sample_value, status AS sample_status, logic_version AS sample_version
    FROM ce_technology FINAL
    SETTINGS do_not_merge_across_partitions_select_final = 1
)
GROUP BY tenant, chassis_id, signal, source
