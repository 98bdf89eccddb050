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
CREATE INDEX dead_letter_age ON dead_letter (last_failed_at);
-- Counts and oldest failures, without reading the bodies.
CREATE INDEX dead_letter_oldest ON dead_letter (group_name, bus, first_failed_at);
