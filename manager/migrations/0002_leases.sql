-- Leases, silence, and who waits for whom.

-- 1 once the device was out of contact for so long that its host instances are PROBLEM.
ALTER TABLE devices ADD COLUMN silent BIGINT NOT NULL DEFAULT 0;

-- How long the instance's exports outlive contact with its device, in milliseconds.
ALTER TABLE assigned ADD COLUMN lease BIGINT NOT NULL DEFAULT 60000;

-- `lapsed`: its lease is over. `held`: it waits for those who need it to stop first. `needs`: it needs others to go on.
ALTER TABLE instances ADD COLUMN lapsed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN held BIGINT NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN needs BIGINT NOT NULL DEFAULT 0;
CREATE INDEX instances_held ON instances (project, application) WHERE held = 1;

-- Which other applications a running instance cannot do without, as it told last. Most have no row here.
CREATE TABLE reaches (
    device TEXT NOT NULL,
    application TEXT NOT NULL,
    path TEXT NOT NULL,
    project TEXT NOT NULL,
    other TEXT NOT NULL,
    PRIMARY KEY (device, application, path, other),
    FOREIGN KEY (device, application, path) REFERENCES instances (device, application, path) ON DELETE CASCADE
);
CREATE INDEX reaches_project ON reaches (project, application, other);

-- Host instances whose device was removed, until their application is applied anew.
CREATE TABLE homeless (
    project TEXT NOT NULL,
    application TEXT NOT NULL,
    path TEXT NOT NULL,
    component TEXT NOT NULL,
    device TEXT NOT NULL,
    removed_at BIGINT NOT NULL,
    PRIMARY KEY (project, application, path),
    FOREIGN KEY (project, application) REFERENCES applications (project, name) ON DELETE CASCADE
);
