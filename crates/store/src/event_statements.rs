//! The SQL about events and what follows from them that both engines understand to the letter.

/// Takes the one row that gives places: nobody else appends until the transaction ends, so places
/// become visible in their order.
pub(crate) const TAKE_HEAD: &str = "UPDATE event_head SET seq = seq RETURNING seq";
pub(crate) const SET_HEAD: &str = "UPDATE event_head SET seq = $1";
pub(crate) const HEAD: &str = "SELECT seq FROM event_head";

pub(crate) const SET_CURSOR: &str = "INSERT INTO cursors (source, cursor) VALUES ($1, $2) \
     ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor";
pub(crate) const CURSOR: &str = "SELECT cursor FROM cursors WHERE source = $1";

pub(crate) const EVENTS_AFTER: &str =
    "SELECT seq, doc FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
pub(crate) const EVENT: &str = "SELECT seq, doc FROM events WHERE id = $1 ORDER BY seq LIMIT 1";
pub(crate) const EVENT_TIMES: &str = "SELECT received_us FROM events WHERE seq = $1";
pub(crate) const INCIDENT_EVENTS: &str = "SELECT e.seq, e.doc FROM reports r \
     JOIN events e ON e.seq = r.seq WHERE r.incident = $1 AND r.seq > $2 ORDER BY r.seq LIMIT $3";

pub(crate) const MARK: &str = "SELECT seq, time_us FROM marks WHERE consumer = $1";
pub(crate) const SET_MARK: &str = "INSERT INTO marks (consumer, seq, time_us) \
     VALUES ($1, $2, $3) ON CONFLICT (consumer) DO UPDATE \
     SET seq = excluded.seq, time_us = excluded.time_us";
pub(crate) const DROP_MARK: &str = "DELETE FROM marks WHERE consumer = $1";
pub(crate) const SLOWEST_MARK: &str = "SELECT COALESCE(MIN(seq), 9223372036854775807) FROM marks";

// A part of another incident stays one, whatever is written of it.
pub(crate) const PUT_INCIDENT: &str = "INSERT INTO incidents (id, opened_us, updated_us, is_open, \
     kind, severity, cluster, node, vmid, merged_into, doc) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, $10) ON CONFLICT (id) DO UPDATE SET \
     opened_us = excluded.opened_us, updated_us = excluded.updated_us, \
     is_open = CASE WHEN incidents.merged_into IS NULL THEN excluded.is_open ELSE 0 END, \
     kind = excluded.kind, severity = excluded.severity, cluster = excluded.cluster, \
     node = excluded.node, vmid = excluded.vmid, doc = excluded.doc";

macro_rules! incident_columns {
    () => {
        "SELECT id, opened_us, updated_us, is_open, kind, severity, cluster, node, vmid, \
         merged_into, doc FROM incidents "
    };
}

pub(crate) const INCIDENTS: &str = concat!(incident_columns!(), "WHERE merged_into IS NULL");
// Those whose name begins with a text, and what they are part of.
pub(crate) const NAMED_INCIDENTS: &str = concat!(
    incident_columns!(),
    "WHERE id IN (SELECT COALESCE(p.id, i.id) FROM incidents i \
     LEFT JOIN incidents p ON p.id = i.merged_into \
     WHERE substr(i.id, 1, length($1)) = $1) ORDER BY id LIMIT $2"
);

pub(crate) const MERGED_INTO: &str = "SELECT merged_into FROM incidents WHERE id = $1";
pub(crate) const MERGE_INCIDENT: &str = "UPDATE incidents SET merged_into = $2, is_open = 0 \
     WHERE id = $1 OR merged_into = $1";
pub(crate) const MERGE_REPORTS: &str = "UPDATE reports SET incident = $2 WHERE incident = $1";
// The lane of an incident is its name, as a rule.
pub(crate) const MERGE_DELIVERIES: &str = "UPDATE outbox SET incident = $2, \
     lane = CASE WHEN lane = $1 THEN $2 ELSE lane END WHERE incident = $1";

pub(crate) const INSERT_ENTRY: &str =
    "INSERT INTO journal (after_seq, time_us, doc) VALUES ($1, $2, $3)";
pub(crate) const JOURNAL: &str = "SELECT number, after_seq, time_us, doc FROM journal \
     WHERE time_us >= $1 AND number > $2 ORDER BY number LIMIT $3";

pub(crate) const PUT_SILENCE: &str = "INSERT INTO silences (name, until_us, author, reason, doc) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO UPDATE SET until_us = excluded.until_us, \
     author = excluded.author, reason = excluded.reason, doc = excluded.doc";
pub(crate) const DROP_SILENCE: &str = "DELETE FROM silences WHERE name = $1";
pub(crate) const SILENCES: &str = "SELECT name, until_us, author, reason, doc FROM silences \
     WHERE until_us > $1 ORDER BY name";

pub(crate) const INSERT_DELIVERY: &str = "INSERT INTO outbox (key, output, incident, lane, \
     made_us, due_us, attempts, state, doc) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
     ON CONFLICT (key) DO NOTHING";

macro_rules! deliveries {
    ($condition:literal) => {
        concat!(
            "SELECT o.key, o.output, o.incident, o.lane, o.made_us, o.due_us, o.attempts, \
             o.state, o.doc, o.last_error, o.receipt, o.done_us FROM outbox o WHERE ",
            $condition
        )
    };
}

/// What stands at the head of its lane.
macro_rules! first_of_lane {
    ($rest:literal) => {
        concat!(
            "o.number IN (SELECT MIN(b.number) FROM outbox b \
             WHERE b.state = 'pending' AND b.output = $1 GROUP BY b.lane) ",
            $rest
        )
    };
}

pub(crate) const DUE: &str = concat!(
    deliveries!(""),
    first_of_lane!("AND o.due_us <= $2 ORDER BY o.made_us, o.number LIMIT $3")
);
pub(crate) const NEXT_DUE: &str =
    concat!("SELECT MIN(o.due_us) FROM outbox o WHERE ", first_of_lane!(""));
pub(crate) const DELIVERY: &str = deliveries!("o.key = $1");
pub(crate) const DEAD: &str =
    deliveries!("o.state = 'dead' AND ($1 = '' OR o.output = $1) ORDER BY o.number LIMIT $2");
pub(crate) const SET_DONE: &str = "UPDATE outbox SET state = 'done', receipt = $2, done_us = $3 \
     WHERE key = $1 AND state = 'pending'";
pub(crate) const SET_FAILED: &str = "UPDATE outbox SET attempts = attempts + 1, last_error = $2, \
     due_us = $3, receipt = COALESCE($4, receipt) WHERE key = $1 AND state = 'pending'";
pub(crate) const SET_DEAD: &str = "UPDATE outbox SET state = 'dead', last_error = $2, \
     done_us = $3 WHERE key = $1 AND state = 'pending'";

macro_rules! replay {
    ($condition:literal) => {
        concat!(
            "UPDATE outbox SET state = 'pending', attempts = 0, due_us = $2, done_us = NULL \
             WHERE state = 'dead' AND ",
            $condition
        )
    };
}

pub(crate) const REPLAY: &str = replay!("($1 = '' OR output = $1)");
pub(crate) const REPLAY_ONE: &str = replay!("key = $1");
pub(crate) const PURGE: &str = "DELETE FROM outbox WHERE state = 'dead' \
     AND ($1 = '' OR output = $1)";
pub(crate) const PURGE_ONE: &str = "DELETE FROM outbox WHERE state = 'dead' AND key = $1";
pub(crate) const PRIOR_RECEIPT: &str = "SELECT receipt FROM outbox \
     WHERE incident = COALESCE((SELECT i.merged_into FROM incidents i WHERE i.id = $2), $2) \
     AND output = $1 AND state = 'done' AND receipt IS NOT NULL \
     ORDER BY done_us DESC, number DESC LIMIT 1";
pub(crate) const OUTPUT_COUNTS: &str = "SELECT output, \
     COUNT(CASE WHEN state = 'pending' THEN 1 END), \
     MIN(CASE WHEN state = 'pending' THEN made_us END), \
     COUNT(CASE WHEN state = 'dead' THEN 1 END) \
     FROM outbox WHERE state IN ('pending', 'dead') GROUP BY output ORDER BY output";
pub(crate) const INSERT_RECEIPT: &str = "INSERT INTO receipts (service, id, at_us) \
     VALUES ($1, $2, $3) ON CONFLICT (service, id) DO UPDATE SET at_us = excluded.at_us";
pub(crate) const RECEIPT: &str = "SELECT COUNT(*) FROM receipts WHERE service = $1 AND id = $2";

pub(crate) const FORGET_EVENTS: &str = "DELETE FROM events WHERE seq IN (\
     SELECT e.seq FROM events e WHERE e.received_us < $1 AND e.seq <= $2 AND NOT EXISTS (\
     SELECT 1 FROM reports r JOIN incidents i ON i.id = r.incident \
     WHERE r.seq = e.seq AND i.is_open = 1) ORDER BY e.received_us LIMIT $3) RETURNING seq";
pub(crate) const FORGET_REPORTS: &str = "DELETE FROM reports WHERE seq BETWEEN $1 AND $2 \
     AND NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = reports.seq)";
pub(crate) const FORGET_INCIDENTS: &str = "DELETE FROM incidents WHERE id IN (\
     SELECT i.id FROM incidents i WHERE i.is_open = 0 AND i.updated_us < $1 \
     AND NOT EXISTS (SELECT 1 FROM reports r WHERE r.incident = i.id) \
     AND NOT EXISTS (SELECT 1 FROM incidents p WHERE p.id = i.merged_into) LIMIT $2)";
pub(crate) const FORGET_DELIVERIES: &str = "DELETE FROM outbox WHERE number IN (\
     SELECT o.number FROM outbox o WHERE o.state = 'done' AND o.done_us < $1 AND NOT EXISTS (\
     SELECT 1 FROM incidents i WHERE i.id = o.incident AND i.is_open = 1) LIMIT $2)";
pub(crate) const FORGET_RECEIPTS: &str = "DELETE FROM receipts WHERE (service, id) IN (\
     SELECT r.service, r.id FROM receipts r WHERE r.at_us < $1 LIMIT $2)";
pub(crate) const FORGET_JOURNAL: &str = "DELETE FROM journal WHERE number IN (\
     SELECT j.number FROM journal j WHERE j.time_us < $1 LIMIT $2)";
pub(crate) const FORGET_SILENCES: &str = "DELETE FROM silences WHERE name IN (\
     SELECT s.name FROM silences s WHERE s.until_us < $1 LIMIT $2)";
