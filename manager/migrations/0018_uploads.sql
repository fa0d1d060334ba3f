-- Files of devices that the manager keeps. Their content lies in files of their `id`. `device` may be gone since, or be in
-- another project; `device_name` is what it was called.
CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    device TEXT NOT NULL,
    device_name TEXT NOT NULL,
    path TEXT NOT NULL,
    state TEXT NOT NULL,
    meta TEXT NOT NULL,
    ordered_by TEXT NOT NULL,
    -- What the device calls this wish of its own; NULL where a user asked.
    wish TEXT,
    rate BIGINT,
    -- NULL while nobody knows it.
    total BIGINT,
    sent BIGINT NOT NULL,
    sha256 TEXT,
    error TEXT,
    -- NULL where the device's own file just stays.
    purge TEXT,
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    UNIQUE (project, name),
    UNIQUE (device, wish)
);
CREATE INDEX uploads_state ON uploads (state);
-- By which files are found.
CREATE TABLE upload_meta (
    upload TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (upload, key)
);
-- Links to files. Of the secret only the SHA-256 is known.
CREATE TABLE upload_shares (
    id TEXT NOT NULL PRIMARY KEY,
    upload TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    hash TEXT NOT NULL UNIQUE,
    made_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX upload_shares_upload ON upload_shares (upload);
