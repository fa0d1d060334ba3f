-- Jobs: commands that were ordered for many devices, and what became of each. Their output lies in files.
-- `request` has no values of variables; `env` has them for as long as the job waits for devices.
CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (name),
    ordered_by TEXT NOT NULL,
    request TEXT NOT NULL,
    env TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    ended_at BIGINT,
    cancelled_by TEXT
);
CREATE INDEX jobs_project ON jobs (project, created_at);
-- One target of a job. `device` is null where there is no such device, and may be gone since.
CREATE TABLE runs (
    job TEXT NOT NULL REFERENCES jobs (id),
    number BIGINT NOT NULL,
    name TEXT NOT NULL,
    device TEXT,
    sent BIGINT NOT NULL,
    verdict TEXT,
    began_at BIGINT,
    ended_at BIGINT,
    missing BIGINT NOT NULL,
    PRIMARY KEY (job, number)
);
