-- dead_letters holds judgements: rows are only ever added, and what a letter is now follows from all of them.
--
-- A replay puts a letter's record back on the raw log with a mark: which letter, and when (replayed_at; 1970 for the
-- first judgement). The mark travels with the record through the same flow, so that what comes of it is a row of the
-- same letter: refused again with a reason, or good with none (reason ''). The newest judgement is what counts: a letter
-- is open while that has a reason. No row is ever changed and each has its judgement's key, so it does not matter how
-- often, or in which order, they are written: a redelivery of the first refusal, or of any part of a replay, cannot open
-- what a later judgement closed, and a command killed in the middle of a replay is simply run again.
ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS replayed_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    MODIFY ORDER BY (tenant, chassis_id, letter, reason, replayed_at);

-- Read this one: the open letters, each once, as it was judged last. Of two judgements of one moment (the logic changed
-- between two deliveries) the good one counts, for its rows are there.
CREATE OR REPLACE VIEW dead_letters_view AS
SELECT
    tenant, chassis_id, letter, reason, detail, msg_type, message_id, ts, ts_enqueued, ts_ingested, body,
    hub_partition, hub_sequence, v, replayed_at
FROM dead_letters FINAL
WHERE (tenant, chassis_id, letter, reason, replayed_at) IN
(
    SELECT
        tenant, chassis_id, letter,
        argMin(reason, (-toUnixTimestamp64Micro(replayed_at), reason)) AS last_reason,
        max(replayed_at) AS last_replayed_at
    FROM dead_letters
    GROUP BY tenant, chassis_id, letter
    HAVING last_reason != ''
);

-- The numbers of the messages whose samples, texts, codes and events are all stored: written after them, so that an
-- audit can tell what is only in the raw archive. Two integers that rise together take next to no room.
CREATE TABLE IF NOT EXISTS parsed_messages
(
    tenant     LowCardinality(String),
    chassis_id LowCardinality(String),
    epoch      UInt64 CODEC(Delta, ZSTD(1)),
    seq        UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (tenant, chassis_id, epoch, seq);

-- What was archived before this table was there, and not refused, is taken for parsed. Only then: of two who migrate at
-- once, one may come here when the other is long done and messages arrive that nobody has judged yet.
INSERT INTO parsed_messages
SELECT
    tenant, chassis_id,
    toUInt64(splitByChar(':', message_id)[-2]) AS epoch,
    toUInt64(splitByChar(':', message_id)[-1]) AS seq
FROM raw_data_cache_store
WHERE startsWith(message_id, concat(chassis_id, ':'))
  AND match(substring(message_id, length(chassis_id) + 2), '^[1-9][0-9]{0,15}:[1-9][0-9]{0,13}$')
  AND (tenant, chassis_id, message_id) NOT IN (SELECT tenant, chassis_id, letter FROM dead_letters)
  AND (SELECT max(version) FROM schema_version) < 5
