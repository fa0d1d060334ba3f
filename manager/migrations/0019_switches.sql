-- What is switched off on a device, as JSON; all else is on.

ALTER TABLE devices ADD COLUMN switches TEXT NOT NULL DEFAULT '{"off":{}}';
