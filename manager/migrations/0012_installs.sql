-- Machines that are on their way to become devices: the last word of each. It goes with the token that they come with.
CREATE TABLE installs (
    token TEXT NOT NULL REFERENCES enroll_tokens (hash) ON DELETE CASCADE,
    host TEXT NOT NULL,
    stage TEXT NOT NULL,
    percent BIGINT NOT NULL,
    -- NULL while nothing failed.
    code TEXT,
    detail TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (token, host)
);
