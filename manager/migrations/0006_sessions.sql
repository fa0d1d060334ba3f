-- Shell sessions: who had a terminal on which device, when, and how it ended. Their recordings are files.
-- `device` may be gone since; `name` is what it was called.
CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name),
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    started_by TEXT NOT NULL,
    command TEXT NOT NULL,
    keep BIGINT NOT NULL,
    columns BIGINT NOT NULL,
    lines BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    verdict TEXT,
    ended_by TEXT
);
CREATE INDEX sessions_project ON sessions (project, started_at);
