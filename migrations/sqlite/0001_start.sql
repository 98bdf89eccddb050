-- Marks the file as hearken's: 'hrkn'.
PRAGMA application_id = 0x68726b6e;

-- Times are microseconds since the Unix epoch, by this database's clock.
CREATE VIEW clock AS
    SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now;

-- Identity of this cluster and of its history. One row, written with the first migration.
CREATE TABLE identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    cluster_id BLOB NOT NULL,
    log_id BLOB NOT NULL,
    marker_made INTEGER NOT NULL DEFAULT 0,
    swept_at INTEGER NOT NULL DEFAULT 0, -- when old records were last removed
    settings TEXT, -- settings of the first node, with which the cluster began
    settings_by TEXT,
    settings_at INTEGER
) STRICT;

-- Work that one node does at a time. The token grows with each take.
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    token INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- The roster's history. A writer of version n + 1 has read a committed version n, so committed
-- versions are dense: a reader that sees a version sees every version before it.
CREATE TABLE roster_event (
    version INTEGER PRIMARY KEY CHECK (version > 0),
    event_id BLOB NOT NULL UNIQUE,
    event_type TEXT NOT NULL,
    schema_version INTEGER NOT NULL,
    payload TEXT NOT NULL,
    -- Group that the event is about, for the filters of the history. NULL for an event about a bus.
    group_name TEXT,
    actor TEXT NOT NULL,
    node_id TEXT NOT NULL,
    node_host TEXT NOT NULL,
    reason TEXT,
    command_id BLOB NOT NULL,
    request_id TEXT,
    recorded_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;
CREATE INDEX roster_event_command ON roster_event (command_id);
CREATE INDEX roster_event_group ON roster_event (group_name, version);
CREATE INDEX roster_event_actor ON roster_event (actor, version);

CREATE TRIGGER roster_event_no_update BEFORE UPDATE ON roster_event
BEGIN
    SELECT RAISE(ABORT, 'the roster''s history is append-only');
END;
CREATE TRIGGER roster_event_no_delete BEFORE DELETE ON roster_event
BEGIN
    SELECT RAISE(ABORT, 'the roster''s history is append-only');
END;

-- Commands that their sender may repeat, with a fingerprint of their content.
CREATE TABLE roster_command (
    command_id BLOB PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    recorded_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;
CREATE INDEX roster_command_age ON roster_command (recorded_at);

CREATE TABLE node (
    id TEXT PRIMARY KEY,
    instance BLOB NOT NULL,
    host TEXT NOT NULL,
    software TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    roster_version INTEGER NOT NULL,
    listeners TEXT NOT NULL,
    differing TEXT NOT NULL, -- settings that the node's own configuration has otherwise
    event_forms INTEGER NOT NULL, -- newest form of events that the node can read
    schema_step INTEGER NOT NULL -- newest step of the schema that the node knows
) STRICT;

CREATE TABLE task (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    actor TEXT NOT NULL,
    submitted_from TEXT NOT NULL,
    node TEXT NOT NULL,
    cancelled_from TEXT,
    submitted_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    started_at INTEGER,
    ended_at INTEGER,
    information TEXT NOT NULL
) STRICT;
CREATE INDEX task_unfinished ON task (node) WHERE ended_at IS NULL;
CREATE INDEX task_age ON task (ended_at) WHERE ended_at IS NOT NULL;

-- Result of the last pass. One row.
CREATE TABLE topology_status (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    status TEXT NOT NULL
) STRICT;

-- Passes that changed something. A pass is recorded before its first change.
CREATE TABLE pass (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    record TEXT NOT NULL,
    open INTEGER NOT NULL DEFAULT 0, -- 1 until the pass has ended
    recorded_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;
CREATE INDEX pass_age ON pass (recorded_at);
CREATE INDEX pass_open ON pass (id) WHERE open = 1;

-- Queues of removed listeners that were deleted and must not be declared again.
CREATE TABLE retired_queue (
    group_name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    destroyed INTEGER NOT NULL,
    retired_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER)),
    PRIMARY KEY (group_name, generation)
) STRICT;

-- The embedded broker: exchanges, queues and bindings as they were declared.
CREATE TABLE local_exchange (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    definition TEXT NOT NULL
) STRICT;

CREATE TABLE local_queue (
    name TEXT PRIMARY KEY,
    definition TEXT NOT NULL
) STRICT;

CREATE TABLE local_binding (
    source TEXT NOT NULL REFERENCES local_exchange (name),
    queue TEXT NOT NULL REFERENCES local_queue (name) ON DELETE CASCADE,
    routing_key TEXT NOT NULL,
    arguments TEXT NOT NULL,
    PRIMARY KEY (source, queue, routing_key, arguments)
) STRICT;
CREATE INDEX local_binding_queue ON local_binding (queue);

-- The embedded bus: one body for each published event, one delivery for each queue it reached.
CREATE TABLE local_body (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    content_type TEXT,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE local_delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL REFERENCES local_queue (name),
    body INTEGER NOT NULL REFERENCES local_body (id),
    attempt INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER NOT NULL
) STRICT;
CREATE INDEX local_delivery_due ON local_delivery (queue, due_at, seq);
CREATE INDEX local_delivery_body ON local_delivery (body);

CREATE TRIGGER local_body_unused AFTER DELETE ON local_delivery
BEGIN
    DELETE FROM local_body WHERE id = OLD.body
        AND NOT EXISTS (SELECT 1 FROM local_delivery WHERE body = OLD.body);
END;
