-- Events that were given up. `group_name` is the group that gave up, `dispatch-failure` for an event
-- that could not be published, or `parked` for a message that no consumer could take.
CREATE TABLE dead_letter (
    seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              uuid   NOT NULL UNIQUE,
    bus             text   NOT NULL,
    group_name      text   NOT NULL,
    origin          text,
    event_id        text,
    event_type      text,
    user_name       text,
    content_type    text,
    body            bytea  NOT NULL,
    keys            jsonb  NOT NULL,
    cause           text   NOT NULL,
    attempts        bigint NOT NULL,
    first_failed_at bigint NOT NULL,
    last_failed_at  bigint NOT NULL,
    node            text   NOT NULL,
    previous        uuid
);
CREATE INDEX dead_letter_group ON dead_letter (group_name, bus, seq);
CREATE INDEX dead_letter_age ON dead_letter (last_failed_at) WHERE group_name <> 'dispatch-failure';

-- Number and size of the dead letters of each group, kept by the triggers below. A sum over the
-- shards is exact. Sessions that keep entries at the same time use different shards, so that they
-- do not wait for each other's commit.
CREATE TABLE dead_letter_usage (
    bus        text   NOT NULL,
    group_name text   NOT NULL,
    shard      bigint NOT NULL,
    entries    bigint NOT NULL,
    bytes      bigint NOT NULL,
    PRIMARY KEY (bus, group_name, shard)
);

CREATE FUNCTION dead_letter_is_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign bigint := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    INSERT INTO dead_letter_usage AS usage (bus, group_name, shard, entries, bytes)
        SELECT bus, group_name, pg_backend_pid() % 16, sign * count(*), sign * sum(length(body))::bigint
        FROM changed GROUP BY bus, group_name ORDER BY bus, group_name
        ON CONFLICT (bus, group_name, shard)
        DO UPDATE SET entries = usage.entries + excluded.entries, bytes = usage.bytes + excluded.bytes;
    RETURN NULL;
END $$;
CREATE TRIGGER dead_letter_kept AFTER INSERT ON dead_letter REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION dead_letter_is_counted();
CREATE TRIGGER dead_letter_removed AFTER DELETE ON dead_letter REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION dead_letter_is_counted();
