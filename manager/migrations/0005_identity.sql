-- Who may connect, for how long, and with which keys.

-- `accepted`, `pending` or `revoked`; `reason` says why it is not connected, or may not be.
ALTER TABLE devices ADD COLUMN standing TEXT NOT NULL DEFAULT 'accepted';
ALTER TABLE devices ADD COLUMN reason TEXT NOT NULL DEFAULT '';
-- Counts the keys that were given by a token and not by the key before: what an older one began, ends.
ALTER TABLE devices ADD COLUMN enrolment BIGINT NOT NULL DEFAULT 1;
-- The hash of the token that it enrolled with.
ALTER TABLE devices ADD COLUMN enrolled_with TEXT;
-- A key that was certified and not used yet.
ALTER TABLE devices ADD COLUMN next_key TEXT;
-- When the newest certificate ends; NULL for one of an older version.
ALTER TABLE devices ADD COLUMN certificate_ends BIGINT;
-- 1 when an operator asked for a new key.
ALTER TABLE devices ADD COLUMN rotate BIGINT NOT NULL DEFAULT 0;

-- How many devices a token lets in, how many came, and whether an operator has to accept them.
ALTER TABLE enroll_tokens ADD COLUMN uses BIGINT NOT NULL DEFAULT 1;
ALTER TABLE enroll_tokens ADD COLUMN used BIGINT NOT NULL DEFAULT 0;
ALTER TABLE enroll_tokens ADD COLUMN approve BIGINT NOT NULL DEFAULT 0;
ALTER TABLE enroll_tokens ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE enroll_tokens ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
UPDATE enroll_tokens SET used = 1 WHERE used_at IS NOT NULL;
UPDATE devices SET enrolled_with =
    (SELECT MAX(hash) FROM enroll_tokens t WHERE t.project = devices.project AND t.used_by = devices.name);
