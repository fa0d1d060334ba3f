-- Groups of users: a group is a user of its own kind, who has no tokens and whose roles its members have.

CREATE TABLE group_members (
    name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    member TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    PRIMARY KEY (name, member)
);
CREATE INDEX group_members_member ON group_members (member);

-- Where the audit log begins: the last line that was taken away when its time was over, after it was verified.
CREATE TABLE audit_anchor (
    id BIGINT NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL,
    trimmed_at BIGINT NOT NULL
);
