-- What a device said of itself when it was asked last, as JSON.
CREATE TABLE health (
    device TEXT NOT NULL PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
    report TEXT NOT NULL,
    at BIGINT NOT NULL
);
