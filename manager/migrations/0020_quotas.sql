-- How many devices a project may have; NULL where that is nobody's business.

ALTER TABLE projects ADD COLUMN max_devices BIGINT;
