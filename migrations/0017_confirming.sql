-- +goose Up
-- Runs that we had run again to be sure of a culprit: few, and looked for by
-- commit and job, and by the day.
CREATE INDEX incident_entries_confirming ON incident_entries (at) WHERE kind = 'confirming';
