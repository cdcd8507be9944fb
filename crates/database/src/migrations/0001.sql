-- Version 1 of the schema.
--
-- Written so that PostgreSQL can hold the same: BIGINT for numbers and moments, 16-byte BLOB
-- (there: BYTEA) for uuids, TEXT for words and JSON. Columns ending in _us are microseconds, of
-- wall-clock time since 1970-01-01T00:00:00Z unless said otherwise; those ending in _bytes are bytes.

-- Account ---------------------------------------------------------------------------------------

-- The account this server belongs to: one row.
CREATE TABLE account (
    one               SMALLINT PRIMARY KEY CHECK (one = 1),
    id                TEXT NOT NULL,     -- six letters and digits, such as dkxfvY
    created_us        BIGINT NOT NULL
);

-- How long assets are kept: one row once somebody changed the defaults.
CREATE TABLE expiration_rules (
    one               SMALLINT PRIMARY KEY CHECK (one = 1),
    rules             TEXT NOT NULL      -- JSON: days per type of asset
);

-- Secrets that open the REST API, by hash.
CREATE TABLE api_secret (
    name              TEXT PRIMARY KEY,
    sha256            BLOB NOT NULL,     -- 32 bytes
    created_us        BIGINT NOT NULL
);

-- Random keys the server made for itself, such as the one that signs download links.
CREATE TABLE server_key (
    name              TEXT PRIMARY KEY,
    secret            BLOB NOT NULL      -- 32 bytes
);

-- A row to write, to find out whether writing works: one row.
CREATE TABLE ping (count BIGINT NOT NULL);
INSERT INTO ping (count) VALUES (0);

-- Replies to requests with an Idempotency-Key.
CREATE TABLE kept_reply (
    key               TEXT PRIMARY KEY,
    fingerprint       BLOB NOT NULL,     -- SHA-256 of the request's meaning
    reply             TEXT NOT NULL,
    created_us        BIGINT NOT NULL
);
CREATE INDEX kept_reply_by_age ON kept_reply (created_us);

-- Publish tokens --------------------------------------------------------------------------------

CREATE TABLE token (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    secret_sha256     BLOB NOT NULL UNIQUE,  -- what a publisher's token is looked up by
    label             TEXT NOT NULL,
    added_us          BIGINT NOT NULL,
    token             TEXT NOT NULL      -- JSON: every member, the secret included (REST shows it)
);
CREATE INDEX token_by_label ON token (label, id);
CREATE INDEX token_by_age ON token (added_us, id);

-- The stream names that a token allows exactly, to find the token by.
CREATE TABLE token_stream (
    token             BIGINT NOT NULL REFERENCES token (id) ON DELETE CASCADE,
    stream_name       TEXT NOT NULL,
    PRIMARY KEY (token, stream_name)
);
CREATE INDEX token_stream_by_name ON token_stream (stream_name, token);

-- The first addresses that used a token with bindIpsOnUsage.
CREATE TABLE token_address (
    token             BIGINT NOT NULL REFERENCES token (id) ON DELETE CASCADE,
    address           TEXT NOT NULL,
    PRIMARY KEY (token, address)
);

-- Feeds and their media -------------------------------------------------------------------------

CREATE TABLE feed (
    id                BLOB PRIMARY KEY,  -- uuid
    token             BIGINT NOT NULL,   -- no reference: a feed outlives its token
    stream_name       TEXT NOT NULL,
    source_id         TEXT,
    simulcast_id      TEXT,              -- the empty string differs from NULL
    priority          BIGINT,
    remote            TEXT NOT NULL,     -- address of the publisher
    started_us        BIGINT NOT NULL,
    ended_us          BIGINT,            -- NULL while it is live
    last_event_us     BIGINT NOT NULL    -- time of its newest event; the next one's is later
);
CREATE INDEX feed_live ON feed (started_us) WHERE ended_us IS NULL;
CREATE INDEX feed_ended ON feed (ended_us) WHERE ended_us IS NOT NULL;

CREATE TABLE timeline (
    id                BLOB PRIMARY KEY,  -- uuid
    feed              BLOB NOT NULL REFERENCES feed (id),
    created_us        BIGINT NOT NULL
);
CREATE INDEX timeline_by_feed ON timeline (feed);

CREATE TABLE run (
    timeline          BLOB NOT NULL REFERENCES timeline (id) ON DELETE CASCADE,
    number            BIGINT NOT NULL,   -- 0, 1, 2 ... within the timeline
    tracks            TEXT NOT NULL,     -- JSON: codec configurations, in track order
    PRIMARY KEY (timeline, number)
);

-- One row per segment, clustered by timeline: cutting reads neighbours.
CREATE TABLE segment (
    timeline          BLOB NOT NULL,
    sequence          BIGINT NOT NULL,   -- 0, 1, 2 ... within the timeline
    run               BIGINT NOT NULL,
    chunk             BIGINT NOT NULL,   -- chunk file, numbered within the timeline
    offset_bytes      BIGINT NOT NULL,   -- where in the chunk file it begins
    len_bytes         BIGINT NOT NULL,
    media_start_us    BIGINT NOT NULL,   -- on the run's media clock
    media_end_us      BIGINT NOT NULL,   -- on the run's media clock
    wall_offset_us    BIGINT NOT NULL,   -- wall clock minus media clock
    wall_start_us     BIGINT NOT NULL,   -- media_start_us + wall_offset_us
    wall_end_us       BIGINT NOT NULL,   -- media_end_us + wall_offset_us
    starts_with_sync  SMALLINT NOT NULL, -- 1: decoding can begin here
    sample_table      BLOB NOT NULL,     -- last, so that scans of the rest leave its pages unread
    PRIMARY KEY (timeline, sequence),
    FOREIGN KEY (timeline, run) REFERENCES run (timeline, number)
) WITHOUT ROWID;
-- Finds segments by wall clock. The last three columns let start-up learn the extent of every
-- chunk file from the index alone.
CREATE INDEX segment_by_wall
    ON segment (timeline, wall_end_us, wall_start_us, chunk, offset_bytes, len_bytes);

-- Where the bytes of removed segments were, until they are given back to the file system.
CREATE TABLE freed (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,  -- rises: who read up to one misses none
    timeline          BLOB NOT NULL,     -- no reference: the timeline may be gone
    chunk             BIGINT NOT NULL,   -- chunk file, numbered within the timeline
    offset_bytes      BIGINT NOT NULL,
    len_bytes         BIGINT NOT NULL
);

-- Assets ----------------------------------------------------------------------------------------

CREATE TABLE asset (
    id                BLOB PRIMARY KEY,  -- uuid
    asset_type        TEXT NOT NULL,     -- recording, clip, timeline ...
    status            TEXT NOT NULL,     -- processing, complete, error, deleting, deleted
    metadata          TEXT,              -- JSON; set when complete
    reason            TEXT,              -- set on error
    marked_us         BIGINT,            -- when it was marked for removal; set from deleting on
    feed              BLOB NOT NULL,     -- no reference: an asset outlives its feed
    token             BIGINT,
    stream_name       TEXT NOT NULL,
    source_id         TEXT,
    simulcast_id      TEXT,
    priority          BIGINT,
    start_us          BIGINT NOT NULL,
    stop_us           BIGINT,
    name              TEXT,
    created_us        BIGINT NOT NULL,
    expiration_us     BIGINT,            -- NULL: kept until somebody deletes it
    media_distribution_id TEXT,
    custom_path       TEXT UNIQUE,
    last_event_us     BIGINT             -- time of its newest event; the next one's is later
);
CREATE INDEX asset_by_start ON asset (start_us, id);
CREATE INDEX asset_by_type ON asset (asset_type, start_us, id);
CREATE INDEX asset_by_creation ON asset (created_us, id);
CREATE INDEX asset_by_stream ON asset (stream_name, start_us, id);
CREATE INDEX asset_processing ON asset (created_us, id) WHERE status = 'processing';
CREATE INDEX asset_expiring ON asset (expiration_us, id) WHERE status IN ('complete', 'error');
CREATE INDEX asset_timeline ON asset (expiration_us, id) WHERE asset_type = 'timeline' AND status <> 'deleted';
CREATE INDEX asset_deleting ON asset (marked_us, id) WHERE status = 'deleting';
CREATE INDEX asset_deleted ON asset (marked_us, id) WHERE status = 'deleted';

-- Which segments an asset is made of. A segment that no row covers is removed.
CREATE TABLE recipe (
    asset             BLOB PRIMARY KEY REFERENCES asset (id) ON DELETE CASCADE,
    timeline          BLOB NOT NULL REFERENCES timeline (id),
    run               BIGINT NOT NULL,
    first_segment     BIGINT NOT NULL,
    last_segment      BIGINT,            -- included; NULL: grows with the timeline
    start_us          BIGINT,            -- first shown moment, on the run's media clock
    stop_us           BIGINT             -- end of the last shown moment, on the run's media clock
);
CREATE INDEX recipe_by_timeline ON recipe (timeline, first_segment);

-- Webhooks, events, deliveries ------------------------------------------------------------------

CREATE TABLE webhook (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    url               TEXT NOT NULL,
    secret            TEXT NOT NULL,     -- signing key, base64 (REST shows it)
    subscriptions     TEXT NOT NULL,     -- JSON: one flag per type of event
    filter            TEXT,              -- regular expression to find in the stream's name
    disabled          SMALLINT NOT NULL, -- 1: nothing is sent, what is owed is held
    disabled_until_us BIGINT,            -- NULL: until somebody enables it
    disabled_reason   TEXT
);

CREATE TABLE event (
    seq               INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of commit
    id                BLOB NOT NULL UNIQUE,               -- uuid version 7
    kind              TEXT NOT NULL,     -- type.event
    subject           TEXT NOT NULL,     -- id of the asset or feed
    stream_name       TEXT NOT NULL,
    timestamp_us      BIGINT NOT NULL,   -- whole milliseconds, strictly rising per subject
    body              TEXT NOT NULL      -- the JSON that every attempt sends
);
CREATE INDEX event_by_age ON event (timestamp_us);

-- One row per event and webhook that wanted it when it happened.
CREATE TABLE delivery (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook           BIGINT NOT NULL,   -- no reference: a removed webhook's rows go in batches
    event             BIGINT NOT NULL REFERENCES event (seq),
    subject           TEXT NOT NULL,     -- the event's
    state             SMALLINT NOT NULL, -- 0 waiting, 1 pending, 2 delivered, 3 exhausted
    next_us           BIGINT,            -- pending: when due; leased: when the lease runs out
    lease_owner       TEXT,              -- pending: who attempts it now
    attempts          BIGINT NOT NULL,   -- recorded so far
    settled_us        BIGINT             -- when it was delivered or exhausted
);
CREATE INDEX delivery_due ON delivery (webhook, next_us, id) WHERE state = 1;
CREATE INDEX delivery_leased ON delivery (lease_owner) WHERE lease_owner IS NOT NULL;
-- Its first row per webhook and subject is the head; the others wait behind it.
CREATE INDEX delivery_unsettled ON delivery (webhook, subject, id) WHERE state <= 1;
CREATE INDEX delivery_log ON delivery (webhook, id);
CREATE INDEX delivery_settled ON delivery (settled_us) WHERE state >= 2;
CREATE INDEX delivery_by_event ON delivery (event);

-- One row per HTTP request made.
CREATE TABLE attempt (
    delivery          BIGINT NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    number            BIGINT NOT NULL,   -- 1 is the first
    started_us        BIGINT NOT NULL,
    duration_us       BIGINT NOT NULL,   -- how long it took
    status            BIGINT,            -- HTTP status, if there was an answer
    error             TEXT,              -- NULL on success
    response          TEXT,              -- start of the answer's body
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;
