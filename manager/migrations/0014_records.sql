-- The whole record of a device: since when it stands where it stands, who let it enrol, and that it never got in.

-- NULL where nobody knows: nothing moved since an older version wrote the row.
ALTER TABLE devices ADD COLUMN state_since BIGINT;
-- Who made the token that it enrolled with; empty where nobody knows.
ALTER TABLE devices ADD COLUMN enrolled_by TEXT NOT NULL DEFAULT '';
-- 1 when it was shut out while it waited for an operator.
ALTER TABLE devices ADD COLUMN rejected BIGINT NOT NULL DEFAULT 0;
UPDATE devices SET enrolled_by =
    COALESCE((SELECT t.created_by FROM enroll_tokens t WHERE t.hash = devices.enrolled_with), '');
