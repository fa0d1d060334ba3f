-- Keys of the manager's own, by what each is for. What is sealed with one is known again after a restart; none of them
-- opens anything by itself.
CREATE TABLE keys (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);
