-- A message that was refused may be good when it is delivered again without a replay: the processor was killed before it
-- had committed, and the logic changed meanwhile. No judgement is written then, since nothing tells that this delivery is
-- not the first. But all its values are stored, and parsed_messages says so. So a letter is open while its newest
-- judgement has a reason and its message is no parsed one: which came first, or was written first, makes no difference.
-- Letters that go by a body's hash have no number and are closed by a replay alone.
CREATE OR REPLACE VIEW dead_letters_view AS
WITH refused AS
(
    SELECT
        tenant, chassis_id, letter,
        argMin(reason, (-toUnixTimestamp64Micro(replayed_at), reason)) AS last_reason,
        max(replayed_at) AS last_replayed_at,
        splitByChar(':', letter) AS parts
    FROM dead_letters
    GROUP BY tenant, chassis_id, letter
    HAVING last_reason != ''
)
SELECT
    tenant, chassis_id, letter, reason, detail, msg_type, message_id, ts, ts_enqueued, ts_ingested, body,
    hub_partition, hub_sequence, v, replayed_at
FROM dead_letters FINAL
WHERE (tenant, chassis_id, letter, reason, replayed_at) IN
    (SELECT tenant, chassis_id, letter, last_reason, last_replayed_at FROM refused)
AND (tenant, chassis_id, letter) NOT IN
(
    SELECT tenant, chassis_id, concat(chassis_id, ':', toString(epoch), ':', toString(seq))
    FROM parsed_messages
    WHERE (tenant, chassis_id, epoch, seq) IN
        (SELECT tenant, chassis_id, toUInt64OrZero(parts[-2]), toUInt64OrZero(parts[-1]) FROM refused)
)
