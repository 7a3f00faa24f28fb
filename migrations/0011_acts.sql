-- +goose Up

-- A snooze is set while snoozed_at is. It ends at a time, with a number of
-- failed runs, or when a commit fails that contains another; and in any case
-- when the incident gets worse than it was.
ALTER TABLE incidents
    ADD COLUMN snoozed_at       timestamptz,
    ADD COLUMN snoozed_by       text NOT NULL DEFAULT '',
    ADD COLUMN snoozed_severity text NOT NULL DEFAULT ''; -- what it was then
CREATE INDEX incidents_snoozed ON incidents (scope_id) WHERE snoozed_at IS NOT NULL;
CREATE INDEX incidents_duplicates ON incidents (duplicate_of) WHERE duplicate_of IS NOT NULL;

-- What was cut when the jobs of its last run were not known yet: the cut falls
-- on what that run turns out to have failed of.
ALTER TABLE incident_cuts
    ADD COLUMN of_run_id  bigint NOT NULL DEFAULT 0,
    ADD COLUMN of_attempt bigint NOT NULL DEFAULT 0;

-- Which failures people hold to be others than their fingerprints say: after a
-- place among the runs, those of a fingerprint (in one job, or in any where it
-- is empty) count as those of another.
CREATE TABLE incident_aliases (
    scope_id         bigint NOT NULL REFERENCES scopes ON DELETE CASCADE,
    fingerprint      text NOT NULL,
    job              text NOT NULL, -- full name
    becomes          text NOT NULL,
    after_created_at timestamptz NOT NULL,
    after_number     bigint NOT NULL,
    after_run_id     bigint NOT NULL,
    after_attempt    bigint NOT NULL,
    at               timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope_id, fingerprint, job)
);
ALTER TABLE incident_aliases ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON incident_aliases USING ((SELECT is_system()) OR scope_id IN (SELECT id FROM scopes));
