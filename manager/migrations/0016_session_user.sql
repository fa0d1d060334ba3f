-- Whom a session was asked to run as: who joins one of another user than the device's own needs the right to that.

-- NULL where the device chose, as in all that an older version wrote.
ALTER TABLE sessions ADD COLUMN run_as TEXT;
