-- Every message as it came, kept before it is judged: what re-decoding reads.
-- A message has one key wherever and however often it is delivered. The partition is the hub's time, which a resent
-- message may have in two months: read it with a plain FINAL, that merges across partitions.
CREATE TABLE IF NOT EXISTS raw_data_cache_store
(
    tenant        LowCardinality(String),
    chassis_id    LowCardinality(String),
    msg_type      LowCardinality(String),
    message_id    String                  CODEC(ZSTD(1)),
    ts            DateTime64(6, 'UTC')    CODEC(Delta, ZSTD(1)),  -- device time
    ts_enqueued   DateTime64(6, 'UTC')    CODEC(Delta, ZSTD(1)),  -- when the hub took it
    ts_ingested   DateTime64(6, 'UTC')    CODEC(Delta, ZSTD(1)),  -- when the ingestor took it
    body          String                  CODEC(ZSTD(1)),         -- verbatim: JSON if the machine was right
    hub_partition UInt32,
    hub_sequence  Int64                   CODEC(Delta, ZSTD(1)),
    v             UInt16                                          -- envelope version
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ts_enqueued)
ORDER BY (tenant, chassis_id, msg_type, ts, message_id);

-- Read this one: each message once.
CREATE VIEW IF NOT EXISTS raw_messages AS
SELECT tenant, chassis_id, msg_type, message_id, ts, ts_enqueued, ts_ingested, body, hub_partition, hub_sequence, v
FROM raw_data_cache_store FINAL
