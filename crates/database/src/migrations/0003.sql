-- Version 3 of the schema. The conventions are those of 0001.sql.

-- Assets: what file was asked for (mp4, hls, fmp4, webm); NULL: what suits the codecs. What is complete stays
-- the file that it is.
ALTER TABLE asset ADD COLUMN target_format TEXT;
UPDATE asset SET target_format = 'mp4' WHERE status = 'complete' AND asset_type IN ('recording', 'clip');
