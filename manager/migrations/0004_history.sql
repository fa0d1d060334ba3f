-- Who applied a revision, why, and what came of it. Rows from before have nobody and no numbers.
ALTER TABLE revisions ADD COLUMN applied_by TEXT NOT NULL DEFAULT '';
ALTER TABLE revisions ADD COLUMN note TEXT;
ALTER TABLE revisions ADD COLUMN rollback_of BIGINT;
ALTER TABLE revisions ADD COLUMN version TEXT;
ALTER TABLE revisions ADD COLUMN instances BIGINT;
ALTER TABLE revisions ADD COLUMN summary TEXT NOT NULL DEFAULT '{"create":0,"change":0,"delete":0,"ripple":0}';
