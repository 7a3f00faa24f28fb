-- +goose Up

-- Finds the other runs of a commit, and the failed ones among many.
CREATE INDEX runs_sha ON runs (scope_id, sha);
CREATE INDEX runs_failed ON runs (scope_id, run_created_at) WHERE verdict = 'failed';
CREATE INDEX occurrences_scope ON occurrences (scope_id) WHERE job_id = 0;
