-- Events that were given up. `group_name` is the group that gave up, `dispatch-failure` for an event
-- that could not be published, or `parked` for a message that no consumer could take.
CREATE TABLE dead_letter (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    bus TEXT NOT NULL,
    group_name TEXT NOT NULL,
    origin TEXT,
    event_id TEXT,
    event_type TEXT,
    user_name TEXT,
    content_type TEXT,
    body BLOB NOT NULL,
    keys TEXT NOT NULL,
    cause TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    first_failed_at INTEGER NOT NULL,
    last_failed_at INTEGER NOT NULL,
    node TEXT NOT NULL,
    previous BLOB
) STRICT;
CREATE INDEX dead_letter_group ON dead_letter (group_name, bus, seq);
CREATE INDEX dead_letter_age ON dead_letter (last_failed_at) WHERE group_name <> 'dispatch-failure';

-- Number and size of the dead letters of each group, kept by the triggers below. There is one
-- shard, because there is one writer.
CREATE TABLE dead_letter_usage (
    bus TEXT NOT NULL,
    group_name TEXT NOT NULL,
    shard INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (bus, group_name, shard)
) STRICT;

CREATE TRIGGER dead_letter_kept AFTER INSERT ON dead_letter
BEGIN
    INSERT OR IGNORE INTO dead_letter_usage (bus, group_name, shard, entries, bytes)
        VALUES (NEW.bus, NEW.group_name, 0, 0, 0);
    UPDATE dead_letter_usage SET entries = entries + 1, bytes = bytes + LENGTH(NEW.body)
        WHERE bus = NEW.bus AND group_name = NEW.group_name;
END;
CREATE TRIGGER dead_letter_removed AFTER DELETE ON dead_letter
BEGIN
    UPDATE dead_letter_usage SET entries = entries - 1, bytes = bytes - LENGTH(OLD.body)
        WHERE bus = OLD.bus AND group_name = OLD.group_name;
END;

-- First failure of a delivery, and the dead letter that it was redelivered from.
ALTER TABLE local_delivery ADD COLUMN first_failed_at INTEGER;
ALTER TABLE local_delivery ADD COLUMN previous BLOB;
