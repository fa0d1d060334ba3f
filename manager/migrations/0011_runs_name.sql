-- Which jobs were on a device is asked by its name.
CREATE INDEX runs_name ON runs (name);
