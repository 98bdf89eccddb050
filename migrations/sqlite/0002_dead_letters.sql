-- Events that somebody gave up on: a listener's group, "dispatch-failure" or "parked".
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

-- What a delivery remembers of its failures.
ALTER TABLE local_delivery ADD COLUMN first_failed_at INTEGER;
ALTER TABLE local_delivery ADD COLUMN previous BLOB;
