-- Version 3 of the schema. The conventions are those of 0001.sql.

-- Assets: what file was asked for (mp4, hls, fmp4, webm); NULL: what suits the codecs. What is complete stays
-- the file that it is.
ALTER TABLE asset ADD COLUMN target_format TEXT;
UPDATE asset SET target_format = 'mp4' WHERE status = 'complete' AND asset_type IN ('recording', 'clip');

-- Segments: an index that costs little to write ------------------------------------------------------

-- Many segments of one timeline, run and chunk file, without a hole: what was a row per segment.
CREATE TABLE segment_page (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    timeline          BLOB NOT NULL,
    first_sequence    BIGINT NOT NULL,   -- of its first segment
    last_sequence     BIGINT NOT NULL,   -- of its last segment
    run               BIGINT NOT NULL,
    chunk             BIGINT NOT NULL,   -- chunk file, numbered within the timeline
    end_bytes         BIGINT NOT NULL,   -- in the chunk file, the end of the last of them
    len_bytes         BIGINT NOT NULL,   -- of all of them
    wall_start_us     BIGINT NOT NULL,   -- the earliest of them begins
    wall_end_us       BIGINT NOT NULL,   -- the latest of them ends
    first_sync        BIGINT,            -- the first of them that decoding can begin with; NULL: none
    checksum          BIGINT NOT NULL,   -- of all columns before it but the id
    fields            BLOB NOT NULL,     -- place and times of each, packed
    tables            BLOB NOT NULL,     -- their sample tables; last, so that scans of the rest leave them unread
    FOREIGN KEY (timeline, run) REFERENCES run (timeline, number)
);
CREATE UNIQUE INDEX segment_page_once ON segment_page (timeline, first_sequence);
-- The columns behind the first two let start-up learn the extent of every chunk file, and others which segments there
-- are, from the index alone.
CREATE INDEX segment_page_by_sequence
    ON segment_page (timeline, first_sequence, last_sequence, run, chunk, end_bytes, first_sync);
CREATE INDEX segment_page_by_wall ON segment_page (timeline, wall_end_us, wall_start_us);

-- The newest segments of all feeds, in the order of their writing, until they move into a page. A slot holds several,
-- packed one behind the other, each with a checksum, and is filled again once nothing in it is needed. Slots are numbered
-- from 0 on: 32 bits are more than enough.
CREATE TABLE segment_tail (
    slot              INTEGER PRIMARY KEY,
    segments          BLOB NOT NULL
);

-- Segments below this one are in pages or removed, whatever a slot says; the others are in the tail.
ALTER TABLE timeline ADD COLUMN paged_below BIGINT NOT NULL DEFAULT 0;

-- The room for media ------------------------------------------------------------------------------

-- What was told last of it: one row.
CREATE TABLE storage_told (
    one               SMALLINT PRIMARY KEY CHECK (one = 1),
    event             TEXT NOT NULL,     -- low, refusing, full or recovered; the next one differs
    event_count       BIGINT NOT NULL,
    last_event_us     BIGINT             -- time of the newest event; the next one's is later
);
INSERT INTO storage_told (one, event, event_count) VALUES (1, 'recovered', 0);

-- Runs: what their tracks were known as before more became known of them, as JSON: a list of
-- {"until": the first segment stored when more was known, "tracks": as in run.tracks}, the oldest first.
ALTER TABLE run ADD COLUMN earlier TEXT NOT NULL DEFAULT '[]';

-- Very many assets of one timeline ---------------------------------------------------------------------

-- Recipes: which parts hold a segment is found in one class of sizes after the other; see `cover.rs`.
ALTER TABLE recipe ADD COLUMN size_class BIGINT NOT NULL DEFAULT 63;  -- log2 of its number of segments; 63: no end
WITH RECURSIVE power (class, least) AS (SELECT 0, 1 UNION ALL SELECT class + 1, least * 2 FROM power WHERE class < 62)
    UPDATE recipe
    SET size_class = coalesce((SELECT max(class) FROM power WHERE least <= last_segment - first_segment + 1), 0)
    WHERE last_segment IS NOT NULL;
DROP INDEX recipe_by_timeline;
CREATE INDEX recipe_by_first ON recipe (timeline, size_class, first_segment);
CREATE INDEX recipe_by_last ON recipe (timeline, size_class, last_segment);

-- Timelines: from which segment on it is to be looked for some that no recipe holds; NULL: there are none.
ALTER TABLE timeline ADD COLUMN sweep_from BIGINT;
CREATE INDEX timeline_to_sweep ON timeline (id) WHERE sweep_from IS NOT NULL;

-- Assets: those of a feed that grow with it, and those of a stream that clips are cut from, among many clips.
CREATE INDEX asset_growing ON asset (feed) WHERE asset_type IN ('recording', 'timeline');
CREATE INDEX asset_clippable ON asset (stream_name, start_us, id)
    WHERE asset_type = 'timeline' AND status IN ('processing', 'complete');

-- Recipes: by how much the wall clock that is stored of what a part shows first is too late, as far as was known when its
-- asset was completed.
ALTER TABLE recipe ADD COLUMN late_us BIGINT NOT NULL DEFAULT 0;
