-- +goose Up

-- A change of an incident is told once: when it is known whose it is, and what
-- the logs say.
ALTER TABLE incident_entries ADD COLUMN is_told boolean NOT NULL DEFAULT true;
ALTER TABLE incident_entries ALTER COLUMN is_told SET DEFAULT false;
CREATE INDEX incident_entries_untold ON incident_entries (at) WHERE NOT is_told;
