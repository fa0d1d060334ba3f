-- Where the external imports of an application come from: each prefix, and the applications that are bound to it.
-- The second key keeps a name from dangling: who deletes a provider lets go of its importers first.
CREATE TABLE bindings (
    project TEXT NOT NULL,
    application TEXT NOT NULL,
    prefix TEXT NOT NULL,
    provider TEXT NOT NULL,
    PRIMARY KEY (project, application, prefix, provider),
    FOREIGN KEY (project, application) REFERENCES applications (project, name) ON DELETE CASCADE,
    FOREIGN KEY (project, provider) REFERENCES applications (project, name)
);
CREATE INDEX bindings_provider ON bindings (project, provider);

-- The prefix under which an application offers something to others; empty where it has none, NULL where an older
-- version applied it: then only the graph tells.
ALTER TABLE applications ADD COLUMN exports_prefix TEXT;
