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
CREATE INDEX dead_letter_age ON dead_letter (last_failed_at);
-- Counts and oldest failures, without reading the bodies.
CREATE INDEX dead_letter_oldest ON dead_letter (group_name, bus, first_failed_at);

-- First failure of a delivery, and the dead letter that it was redelivered from.
ALTER TABLE local_delivery ADD COLUMN first_failed_at INTEGER;
ALTER TABLE local_delivery ADD COLUMN previous BLOB;
