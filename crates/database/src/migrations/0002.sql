-- Version 2 of the schema. The conventions are those of 0001.sql.

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
