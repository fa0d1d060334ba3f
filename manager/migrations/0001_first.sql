-- Everything a manager knows. What SQLite and PostgreSQL both take: TEXT and BIGINT, JSON as TEXT written and read
-- by the program, truth values as 0 and 1, times in milliseconds since 1970, numbers counted by ourselves.

CREATE TABLE projects (
    name TEXT NOT NULL PRIMARY KEY
);
INSERT INTO projects (name) VALUES ('default');

-- One row per sequence of numbers: `events/<project>`.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE devices (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    facts TEXT NOT NULL,
    key_fingerprint TEXT NOT NULL,
    enrolled_at BIGINT NOT NULL,
    last_seen BIGINT,
    generation BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    reported BIGINT NOT NULL DEFAULT 0,
    refused TEXT,
    events_stored BIGINT NOT NULL,
    online BIGINT NOT NULL,
    UNIQUE (project, name)
);

-- The newest assignment of a device; `files` are the hashes it names, so that a download is judged without reading it.
CREATE TABLE assignments (
    device TEXT NOT NULL PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    generation BIGINT NOT NULL,
    instances TEXT NOT NULL,
    files TEXT NOT NULL
);

-- The instances in the devices' assignments, once more and without what only agents need.
CREATE TABLE assigned (
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    project TEXT NOT NULL,
    application TEXT NOT NULL,
    path TEXT NOT NULL,
    component TEXT NOT NULL,
    installer TEXT NOT NULL,
    wanted TEXT NOT NULL,
    PRIMARY KEY (device, application, path)
);
CREATE INDEX assigned_application ON assigned (project, application, path);

-- Secrets only as SHA-256.
CREATE TABLE enroll_tokens (
    hash TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT,
    labels TEXT NOT NULL,
    replaces BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    used_by TEXT
);

CREATE TABLE api_tokens (
    hash TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE applications (
    project TEXT NOT NULL REFERENCES projects (name),
    name TEXT NOT NULL,
    version TEXT,
    revision BIGINT NOT NULL,
    applied_at BIGINT NOT NULL,
    overrides_recorded BIGINT NOT NULL,
    PRIMARY KEY (project, name)
);

CREATE TABLE revisions (
    project TEXT NOT NULL,
    application TEXT NOT NULL,
    number BIGINT NOT NULL,
    bundle TEXT NOT NULL,
    graph TEXT NOT NULL,
    recipes TEXT NOT NULL,
    bindings TEXT NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (project, application, number),
    FOREIGN KEY (project, application) REFERENCES applications (project, name) ON DELETE CASCADE
);

CREATE TABLE overrides (
    project TEXT NOT NULL,
    application TEXT NOT NULL,
    path TEXT NOT NULL,
    wanted TEXT NOT NULL,
    PRIMARY KEY (project, application, path),
    FOREIGN KEY (project, application) REFERENCES applications (project, name) ON DELETE CASCADE
);

-- Ports handed out for `random[port]`.
CREATE TABLE ports (
    project TEXT NOT NULL,
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    application TEXT NOT NULL,
    path TEXT NOT NULL,
    variable TEXT NOT NULL,
    port BIGINT NOT NULL,
    PRIMARY KEY (project, application, device, path, variable),
    FOREIGN KEY (project, application) REFERENCES applications (project, name) ON DELETE CASCADE
);

-- What devices reported last. A row outlives its application until the device says that the instance is gone.
-- `installer` is filled in when the instance leaves the assignment: afterwards nothing else knows it.
CREATE TABLE instances (
    device TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    project TEXT NOT NULL,
    application TEXT NOT NULL,
    path TEXT NOT NULL,
    report TEXT NOT NULL,
    offers BIGINT NOT NULL,
    installer TEXT NOT NULL,
    PRIMARY KEY (device, application, path)
);
CREATE INDEX instances_application ON instances (project, application, offers);

CREATE TABLE events (
    project TEXT NOT NULL REFERENCES projects (name),
    id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    device TEXT,
    application TEXT,
    path TEXT,
    body TEXT NOT NULL,
    PRIMARY KEY (project, id)
);
