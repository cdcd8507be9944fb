-- Version 2 of the schema. The conventions are those of 0001.sql.

-- Recipes: an asset may be made of several parts, one per run of a timeline.
CREATE TABLE recipe_of_parts (
    asset             BLOB NOT NULL REFERENCES asset (id) ON DELETE CASCADE,
    part              BIGINT NOT NULL,   -- 0, 1, 2 ... in the order in which they are shown
    timeline          BLOB NOT NULL REFERENCES timeline (id),
    run               BIGINT NOT NULL,
    first_segment     BIGINT NOT NULL,
    last_segment      BIGINT,            -- included; NULL: grows with the timeline
    start_us          BIGINT,            -- first shown moment, on the run's media clock
    stop_us           BIGINT,            -- end of the last shown moment, on the run's media clock
    PRIMARY KEY (asset, part)
);
INSERT INTO recipe_of_parts (asset, part, timeline, run, first_segment, last_segment, start_us, stop_us)
    SELECT asset, 0, timeline, run, first_segment, last_segment, start_us, stop_us FROM recipe;
DROP TABLE recipe;
ALTER TABLE recipe_of_parts RENAME TO recipe;
CREATE INDEX recipe_by_timeline ON recipe (timeline, first_segment);

-- Clips: how they were asked for.
ALTER TABLE asset ADD COLUMN request BLOB;            -- uuid, the same for all clips of one request
ALTER TABLE asset ADD COLUMN gaps TEXT NOT NULL DEFAULT 'split';  -- split, collapse, hold, refuse
ALTER TABLE asset ADD COLUMN cut TEXT NOT NULL DEFAULT 'frame';   -- frame, keyframe
CREATE INDEX asset_by_request ON asset (request, id) WHERE request IS NOT NULL;

-- Requests for clips whose range is still being received; the row goes with the end of the range.
CREATE TABLE clip_request (
    id                BLOB PRIMARY KEY,  -- uuid
    request           TEXT NOT NULL      -- JSON: what was asked for
);

-- Feeds: the bitrate that the publisher aims at ranks quality layers; NULL when it did not tell.
ALTER TABLE feed ADD COLUMN target_kbps BIGINT;

-- Attempts: where the time went, and what was sent. Each is NULL when it did not happen: on a connection that
-- was open already nothing is resolved or connected, and one that fails gets no further.
ALTER TABLE attempt ADD COLUMN dns_us BIGINT;         -- resolving the name
ALTER TABLE attempt ADD COLUMN connect_us BIGINT;     -- making the TCP connection
ALTER TABLE attempt ADD COLUMN tls_us BIGINT;         -- the TLS handshake
ALTER TABLE attempt ADD COLUMN first_byte_us BIGINT;  -- from the start of the attempt to the head of the answer
ALTER TABLE attempt ADD COLUMN request TEXT;          -- request line and headers as sent, secrets masked

-- Subjects count their events: each body tells its number -----------------------------------------

ALTER TABLE asset ADD COLUMN event_count BIGINT NOT NULL DEFAULT 0;  -- events so far
UPDATE asset SET event_count = CASE status WHEN 'processing' THEN 1 WHEN 'complete' THEN 2 WHEN 'error' THEN 2
    ELSE 3 END WHERE asset_type IN ('recording', 'clip');

ALTER TABLE feed ADD COLUMN event_count BIGINT NOT NULL DEFAULT 0;   -- events so far
UPDATE feed SET event_count = CASE WHEN ended_us IS NULL THEN 1 ELSE 2 END;

-- Webhooks: which events, how signed, how sent ---------------------------------------------------

ALTER TABLE webhook ADD COLUMN previous_secret TEXT;           -- signs beside the other, base64
ALTER TABLE webhook ADD COLUMN previous_secret_until_us BIGINT;  -- up to here
ALTER TABLE webhook ADD COLUMN events TEXT NOT NULL DEFAULT '[]';     -- JSON: kinds wanted; empty: all
ALTER TABLE webhook ADD COLUMN token_ids TEXT NOT NULL DEFAULT '[]';  -- JSON: tokens wanted; empty: all
ALTER TABLE webhook ADD COLUMN headers TEXT NOT NULL DEFAULT '{}';    -- JSON: extra headers by name
ALTER TABLE webhook ADD COLUMN rate_limit BIGINT;              -- requests per second; NULL: unlimited
ALTER TABLE webhook ADD COLUMN include_download SMALLINT NOT NULL DEFAULT 0;  -- 1: links in completed
ALTER TABLE webhook ADD COLUMN client_certificate TEXT;        -- PEM
ALTER TABLE webhook ADD COLUMN client_key TEXT;                -- PEM; set with the certificate
ALTER TABLE webhook ADD COLUMN ca_certificate TEXT;            -- PEM

ALTER TABLE event ADD COLUMN token BIGINT;                     -- what its subject was published with

-- Deliveries: to count those that wait without reading them.
CREATE INDEX delivery_waiting ON delivery (webhook, id) WHERE state = 0;

-- Deliveries to endpoints that are down ----------------------------------------------------------

-- Attempts made to find out whether a disabled endpoint is back. They are recorded like any other
-- and use up nothing of the schedule.
ALTER TABLE delivery ADD COLUMN probes BIGINT NOT NULL DEFAULT 0;
-- A delivery's state 4 is: expired. It was held for longer than deliveries are held, and given up.

-- What is known of an endpoint that has failed. No row: nothing is held against it.
CREATE TABLE webhook_health (
    webhook           BIGINT PRIMARY KEY,-- no reference: goes with the webhook
    failures          BIGINT NOT NULL,   -- attempts that failed in a row
    failing_since_us  BIGINT,            -- end of the first of them
    last_success_us   BIGINT,            -- when a delivery was last accepted
    suspensions       BIGINT NOT NULL    -- in a row: 1 at first, one more with each failed probe
);

-- Up to here events are older than what is kept, and are not shown to followers: one row.
CREATE TABLE event_horizon (
    one               SMALLINT PRIMARY KEY CHECK (one = 1),
    seq               BIGINT NOT NULL
);
INSERT INTO event_horizon (one, seq) VALUES (1, 0);

-- Deliveries: leases are no longer stored -----------------------------------------------------------

UPDATE delivery SET next_us = 0 WHERE lease_owner IS NOT NULL;
DROP INDEX delivery_leased;
ALTER TABLE delivery DROP COLUMN lease_owner;

-- The delivery log of one asset or feed.
CREATE INDEX event_by_subject ON event (subject);

-- Replays: events of a time that are sent to a webhook once more ---------------------------------

CREATE TABLE replay (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook           BIGINT NOT NULL,   -- no reference: a removed webhook's replays end by themselves
    since_us          BIGINT NOT NULL,   -- events of this time or later
    until_us          BIGINT NOT NULL,   -- and before this one
    kinds             TEXT NOT NULL,     -- JSON: kinds wanted; empty: all
    failed_only       SMALLINT NOT NULL, -- 1: only what was given up
    last_seq          BIGINT NOT NULL,   -- events that became durable later are not part of it
    state             SMALLINT NOT NULL, -- 0 looking at events, 1 looked at all, 2 cancelled
    total             BIGINT NOT NULL,   -- events of its time
    examined          BIGINT NOT NULL,   -- looked at so far
    matched           BIGINT NOT NULL,   -- made owed so far
    at_us             BIGINT NOT NULL,   -- looked at up to this time
    at_seq            BIGINT NOT NULL,   -- and, at this time, up to this number
    created_us        BIGINT NOT NULL,
    ended_us          BIGINT             -- when all was looked at, or it was cancelled
);
CREATE INDEX replay_by_webhook ON replay (webhook, id);
CREATE INDEX replay_running ON replay (id) WHERE state = 0;
CREATE INDEX replay_ended ON replay (ended_us) WHERE ended_us IS NOT NULL;

ALTER TABLE delivery ADD COLUMN replay BIGINT;                 -- the replay that made it
CREATE INDEX delivery_by_replay ON delivery (replay, state) WHERE replay IS NOT NULL;
