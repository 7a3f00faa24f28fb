-- +goose Up

-- Finds the failed runs among many.
CREATE INDEX runs_failed ON runs (scope_id, run_created_at) WHERE verdict = 'failed';
CREATE INDEX occurrences_scope ON occurrences (scope_id) WHERE job_id = 0;

ALTER TABLE scopes
    ADD COLUMN base         text NOT NULL DEFAULT '', -- where a change goes, as far as the forge has told
    ADD COLUMN ended_at     timestamptz, -- when the change was closed or the branch deleted
    ADD COLUMN is_protected boolean NOT NULL DEFAULT false,
    ADD COLUMN protection_asked_at timestamptz;

-- A failure of a change that the branch has of itself.
ALTER TABLE incidents ADD COLUMN broken_base text REFERENCES incidents ON DELETE SET NULL;
CREATE INDEX incidents_broken_base ON incidents (broken_base) WHERE broken_base IS NOT NULL;
-- What the sweeps look at.
CREATE INDEX incidents_silent ON incidents (last_seen_at) WHERE status <> 'resolved';

-- The jobs of a run that were there, but said nothing: skipped or cancelled.
ALTER TABLE runs ADD COLUMN idle_jobs text[] NOT NULL DEFAULT '{}';
