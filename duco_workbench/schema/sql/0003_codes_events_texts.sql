-- Diagnostic trouble codes, one row a code a report. A report is known by its time and sender.
CREATE TABLE IF NOT EXISTS dtcs
(
    tenant        LowCardinality(String),
    chassis_id    LowCardinality(String),
    source        LowCardinality(String),                         -- bus and sender, can0:00
    spn           UInt32,
    fmi           UInt8,
    ts            DateTime64(6, 'UTC')    CODEC(Delta, ZSTD(1)),
    oc            Nullable(UInt8),                                -- occurrence count
    cm            UInt8,                                          -- conversion method
    lamps         LowCardinality(String),
    message_id    String                  CODEC(ZSTD(1)),         -- the message it came in
    logic_version UInt32,
    is_deleted    UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(logic_version, is_deleted)
PARTITION BY toYYYYMM(ts)
ORDER BY (tenant, chassis_id, source, spn, fmi, ts);

CREATE VIEW IF NOT EXISTS dtcs_view AS
SELECT tenant, chassis_id, source, spn, fmi, ts, oc, cm, lamps, message_id, logic_version
FROM dtcs FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- What happened once, and lines machines logged. Two like events of one moment are told apart by message and number.
CREATE TABLE IF NOT EXISTS events
(
    tenant        LowCardinality(String),
    chassis_id    LowCardinality(String),
    ts            DateTime64(6, 'UTC')    CODEC(Delta, ZSTD(1)),
    message_id    String                  CODEC(ZSTD(1)),
    number        UInt16,                                         -- place within its message
    name          LowCardinality(String),
    severity      LowCardinality(String),
    data          String                  CODEC(ZSTD(1)),         -- JSON, or the text of the log line
    logic_version UInt32,
    is_deleted    UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(logic_version, is_deleted)
PARTITION BY toYYYYMM(ts)
ORDER BY (tenant, chassis_id, ts, message_id, number);

CREATE VIEW IF NOT EXISTS events_view AS
SELECT tenant, chassis_id, ts, message_id, number, name, severity, data, logic_version
FROM events FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Values that are no numbers: identification, decoded text signals.
CREATE TABLE IF NOT EXISTS texts
(
    tenant        LowCardinality(String),
    chassis_id    LowCardinality(String),
    signal        LowCardinality(String),
    source        LowCardinality(String),
    ts            DateTime64(6, 'UTC')    CODEC(Delta, ZSTD(1)),
    text          String                  CODEC(ZSTD(1)),
    logic_version UInt32,
    is_deleted    UInt8 DEFAULT 0
)
ENGINE = ReplacingMergeTree(logic_version, is_deleted)
PARTITION BY toYYYYMM(ts)
ORDER BY (tenant, chassis_id, signal, source, ts);

CREATE VIEW IF NOT EXISTS texts_view AS
SELECT tenant, chassis_id, signal, source, ts, text, logic_version
FROM texts FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1
