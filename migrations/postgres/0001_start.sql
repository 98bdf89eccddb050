-- Times are microseconds since the Unix epoch, by this database's clock.
CREATE VIEW clock AS
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now;

-- Identity of this cluster and of its history. One row, written with the first migration.
CREATE TABLE identity (
    id          bigint PRIMARY KEY CHECK (id = 1),
    cluster_id  uuid   NOT NULL,
    log_id      uuid   NOT NULL,
    marker_made bigint NOT NULL DEFAULT 0,
    swept_at    bigint NOT NULL DEFAULT 0, -- when old records were last removed
    settings    jsonb,  -- settings of the first node, with which the cluster began
    settings_by text,
    settings_at bigint
);

-- Work that one node does at a time. The token grows with each take.
CREATE TABLE lease (
    name       text   PRIMARY KEY,
    holder     text   NOT NULL,
    token      bigint NOT NULL,
    expires_at bigint NOT NULL
);

-- The roster's history. A writer of version n + 1 has read a committed version n, so committed
-- versions are dense: a reader that sees a version sees every version before it.
CREATE TABLE roster_event (
    version        bigint PRIMARY KEY CHECK (version > 0),
    event_id       uuid   NOT NULL UNIQUE,
    event_type     text   NOT NULL,
    schema_version bigint NOT NULL,
    payload        jsonb  NOT NULL,
    -- Group that the event is about, for the filters of the history. NULL for an event about a bus.
    group_name     text,
    actor          text   NOT NULL,
    node_id        text   NOT NULL,
    node_host      text   NOT NULL,
    reason         text,
    command_id     uuid   NOT NULL,
    request_id     text,
    recorded_at    bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
);
CREATE INDEX roster_event_command ON roster_event (command_id);
CREATE INDEX roster_event_group ON roster_event (group_name, version);
CREATE INDEX roster_event_actor ON roster_event (actor, version);

CREATE FUNCTION roster_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the roster''s history is append-only';
END $$;
CREATE TRIGGER roster_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON roster_event
    FOR EACH STATEMENT EXECUTE FUNCTION roster_is_append_only();

-- Commands that their sender may repeat, with a fingerprint of their content.
CREATE TABLE roster_command (
    command_id  uuid   PRIMARY KEY,
    fingerprint bytea  NOT NULL,
    recorded_at bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
);
CREATE INDEX roster_command_age ON roster_command (recorded_at);

CREATE TABLE node (
    id             text   PRIMARY KEY,
    instance       uuid   NOT NULL,
    host           text   NOT NULL,
    software       text   NOT NULL,
    state          text   NOT NULL,
    started_at     bigint NOT NULL,
    last_seen      bigint NOT NULL,
    roster_version bigint NOT NULL,
    listeners      jsonb  NOT NULL,
    differing      jsonb  NOT NULL, -- settings that the node's own configuration has otherwise
    event_forms    bigint NOT NULL, -- newest form of events that the node can read
    schema_step    bigint NOT NULL  -- newest step of the schema that the node knows
);

CREATE TABLE task (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             uuid   NOT NULL UNIQUE,
    kind           text   NOT NULL,
    state          text   NOT NULL,
    actor          text   NOT NULL,
    submitted_from text   NOT NULL,
    node           text   NOT NULL,
    cancelled_from text,
    submitted_at   bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    started_at     bigint,
    ended_at       bigint,
    information    jsonb  NOT NULL
);
CREATE INDEX task_unfinished ON task (node) WHERE ended_at IS NULL;
CREATE INDEX task_age ON task (ended_at) WHERE ended_at IS NOT NULL;

-- Result of the last pass. One row.
CREATE TABLE topology_status (
    id     bigint PRIMARY KEY CHECK (id = 1),
    status jsonb  NOT NULL
);

-- Passes that changed something. A pass is recorded before its first change.
CREATE TABLE pass (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    record      jsonb  NOT NULL,
    open        bigint NOT NULL DEFAULT 0, -- 1 until the pass has ended
    recorded_at bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
);
CREATE INDEX pass_age ON pass (recorded_at);
CREATE INDEX pass_open ON pass (id) WHERE open = 1;

-- Queues of removed listeners that were deleted and must not be declared again.
CREATE TABLE retired_queue (
    group_name text   NOT NULL,
    generation bigint NOT NULL,
    destroyed  bigint NOT NULL,
    retired_at bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    PRIMARY KEY (group_name, generation)
);
