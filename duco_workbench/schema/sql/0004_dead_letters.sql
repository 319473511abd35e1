-- What could not be used, with the body to replay it. letter is the message's own id, or the body's hash where it had
-- none to read: redelivered it is the same row, in whichever month, so there are no partitions.
CREATE TABLE IF NOT EXISTS dead_letters
(
    tenant        LowCardinality(String),
    chassis_id    LowCardinality(String),
    letter        String                  CODEC(ZSTD(1)),
    reason        LowCardinality(String),
    detail        String                  CODEC(ZSTD(1)),
    msg_type      LowCardinality(String),
    message_id    String                  CODEC(ZSTD(1)),
    ts            DateTime64(6, 'UTC')    CODEC(Delta, ZSTD(1)),
    ts_enqueued   DateTime64(6, 'UTC')    CODEC(Delta, ZSTD(1)),
    ts_ingested   DateTime64(6, 'UTC')    CODEC(Delta, ZSTD(1)),
    body          String                  CODEC(ZSTD(1)),
    hub_partition UInt32,
    hub_sequence  Int64                   CODEC(Delta, ZSTD(1)),
    v             UInt16
)
ENGINE = ReplacingMergeTree
ORDER BY (tenant, chassis_id, letter, reason);

CREATE VIEW IF NOT EXISTS dead_letters_view AS
SELECT
    tenant, chassis_id, letter, reason, detail, msg_type, message_id, ts, ts_enqueued, ts_ingested, body,
    hub_partition, hub_sequence, v
FROM dead_letters FINAL
