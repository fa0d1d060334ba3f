-- Identities of OpenID providers, each tied to the user that it was when it came first: a provider may give another
-- one the same e-mail address later.
CREATE TABLE identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    tied_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_name ON identities (name);
