-- Who may what, and what was done.

-- People and pipelines. Tokens of older versions have names that are users now.
CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
INSERT INTO users (name, kind, created_at, created_by)
    SELECT name, 'person', MIN(created_at), '' FROM api_tokens GROUP BY name;

-- `narrowed` is what a token is good for at most, as JSON; NULL for all that its user may.
ALTER TABLE api_tokens ADD COLUMN note TEXT NOT NULL DEFAULT '';
ALTER TABLE api_tokens ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
ALTER TABLE api_tokens ADD COLUMN expires_at BIGINT;
ALTER TABLE api_tokens ADD COLUMN last_used BIGINT;
ALTER TABLE api_tokens ADD COLUMN narrowed TEXT;
CREATE INDEX api_tokens_name ON api_tokens (name);

-- Roles that users have. An empty project is all of them, an empty selector all devices.
CREATE TABLE grants (
    id BIGINT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    role TEXT NOT NULL,
    project TEXT NOT NULL,
    selector TEXT NOT NULL,
    granted_at BIGINT NOT NULL,
    granted_by TEXT NOT NULL,
    UNIQUE (name, role, project, selector)
);

-- Lines are only ever added. `hash` is over the line as it was written, in `line`, and the hash before: the other
-- columns are for finding lines, and no part of what is proved.
CREATE TABLE audit (
    id BIGINT NOT NULL PRIMARY KEY,
    project TEXT,
    who TEXT,
    line TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_project ON audit (project, id);
CREATE INDEX audit_who ON audit (who, id);
