-- +goose Up

-- The flaky failures of a workflow: it has passed, too, on the very commit.
ALTER TABLE runs ADD COLUMN is_flaky boolean NOT NULL DEFAULT false;
-- When the run was made that failed first: as good as when its commit was pushed.
ALTER TABLE incidents ADD COLUMN first_run_created_at timestamptz;
UPDATE incidents i SET first_run_created_at = (
    SELECT r.run_created_at FROM occurrences o JOIN runs r USING (connection_id, run_id, attempt)
    WHERE o.incident_id = i.id ORDER BY r.run_created_at, r.number, o.run_id, o.attempt LIMIT 1);

CREATE INDEX runs_newest ON runs (connection_id, run_created_at, run_id, attempt);
CREATE INDEX runs_workflow ON runs (connection_id, workflow_key, run_created_at) INCLUDE (started_at, finished_at);
CREATE INDEX runs_commit ON runs (scope_id, sha);
CREATE INDEX incidents_resolved ON incidents (connection_id, resolved_at);

-- The verdicts of each workflow by the day, in UTC, on which its runs were
-- made: what figures over many runs are read from. Each run that is stored
-- counts at once, whenever it comes, and stays counted when it is deleted.
CREATE TABLE run_days (
    connection_id text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    day           date NOT NULL,
    workflow_key  text NOT NULL,
    scope_class   text NOT NULL CHECK (scope_class IN ('main', 'branch', 'change')),
    workflow      text NOT NULL, -- its name, by the newest of the runs
    last_run_at   timestamptz NOT NULL, -- when that was made
    passed        integer NOT NULL,
    failed        integer NOT NULL,
    flaky         integer NOT NULL, -- of those that failed
    PRIMARY KEY (connection_id, day, workflow_key, scope_class)
);
ALTER TABLE run_days ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON run_days USING ((SELECT is_system()) OR connection_id IN (SELECT id FROM repository_connections));

-- +goose StatementBegin
CREATE FUNCTION scope_class(kind text, is_main boolean) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN CASE WHEN is_main THEN 'main' ELSE kind END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION day_of(at timestamptz) RETURNS date LANGUAGE sql IMMUTABLE
    RETURN (at AT TIME ZONE 'UTC')::date;
-- +goose StatementEnd

-- Counts a run, and the failures that it shows to be flaky or that are shown
-- to be by what passed before it: in whatever order they come, each once.
-- +goose StatementBegin
CREATE FUNCTION count_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH shown AS (
        UPDATE runs f SET is_flaky = true
        WHERE f.scope_id = NEW.scope_id AND f.sha = NEW.sha AND NEW.sha <> '' AND f.workflow_key = NEW.workflow_key
            AND f.verdict = 'failed' AND NOT f.is_flaky
            AND EXISTS (SELECT 1 FROM runs p WHERE p.scope_id = NEW.scope_id AND p.sha = NEW.sha
                AND p.workflow_key = NEW.workflow_key AND p.verdict = 'passed')
        RETURNING f.workflow, f.run_created_at),
    counted AS (
        SELECT NEW.workflow, NEW.run_created_at, (NEW.verdict = 'passed')::integer AS passed, (NEW.verdict = 'failed')::integer AS failed, 0 AS flaky
        UNION ALL SELECT workflow, run_created_at, 0, 0, 1 FROM shown)
    INSERT INTO run_days AS d (connection_id, day, workflow_key, scope_class, workflow, last_run_at, passed, failed, flaky)
        SELECT NEW.connection_id, day_of(c.run_created_at), NEW.workflow_key,
            (SELECT scope_class(s.kind, s.is_main) FROM scopes s WHERE s.id = NEW.scope_id),
            (array_agg(c.workflow ORDER BY c.run_created_at DESC, c.workflow))[1], max(c.run_created_at), sum(c.passed), sum(c.failed), sum(c.flaky)
        FROM counted c GROUP BY 2 ORDER BY 2 -- as every transaction takes the locks
    ON CONFLICT (connection_id, day, workflow_key, scope_class) DO UPDATE SET
        passed = d.passed + EXCLUDED.passed, failed = d.failed + EXCLUDED.failed, flaky = d.flaky + EXCLUDED.flaky,
        workflow = CASE WHEN EXCLUDED.last_run_at >= d.last_run_at THEN EXCLUDED.workflow ELSE d.workflow END,
        last_run_at = GREATEST(d.last_run_at, EXCLUDED.last_run_at);
    RETURN NULL;
END $$;
-- +goose StatementEnd
-- At the commit, so that the runs of a repository wait for each other no
-- longer than that. What has a number below zero is no run of the forge.
CREATE CONSTRAINT TRIGGER count_run_rows AFTER INSERT ON runs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.run_id > 0) EXECUTE FUNCTION count_run();

-- Moves the runs of a branch when the default branch becomes another.
-- +goose StatementBegin
CREATE FUNCTION recount_scope() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO run_days AS d (connection_id, day, workflow_key, scope_class, workflow, last_run_at, passed, failed, flaky)
        SELECT r.connection_id, day_of(r.run_created_at), r.workflow_key, c.class,
            (array_agg(r.workflow ORDER BY r.run_created_at DESC, r.workflow))[1], max(r.run_created_at),
            c.sign * count(*) FILTER (WHERE r.verdict = 'passed'), c.sign * count(*) FILTER (WHERE r.verdict = 'failed'), c.sign * count(*) FILTER (WHERE r.is_flaky)
        FROM runs r CROSS JOIN (VALUES (scope_class(OLD.kind, OLD.is_main), -1), (scope_class(NEW.kind, NEW.is_main), 1)) c (class, sign)
        WHERE r.scope_id = NEW.id AND r.run_id > 0 GROUP BY r.connection_id, 2, r.workflow_key, c.class, c.sign ORDER BY 2, 3, 4
    ON CONFLICT (connection_id, day, workflow_key, scope_class) DO UPDATE SET
        passed = d.passed + EXCLUDED.passed, failed = d.failed + EXCLUDED.failed, flaky = d.flaky + EXCLUDED.flaky,
        workflow = CASE WHEN EXCLUDED.last_run_at >= d.last_run_at THEN EXCLUDED.workflow ELSE d.workflow END,
        last_run_at = GREATEST(d.last_run_at, EXCLUDED.last_run_at);
    RETURN NULL;
END $$;
-- +goose StatementEnd
-- Before the run that told of it is counted.
CREATE TRIGGER recount_scope_rows AFTER UPDATE OF is_main ON scopes
    FOR EACH ROW WHEN (OLD.is_main <> NEW.is_main) EXECUTE FUNCTION recount_scope();

-- What is stored already.
UPDATE runs f SET is_flaky = true WHERE f.verdict = 'failed' AND f.sha <> '' AND EXISTS (
    SELECT 1 FROM runs p WHERE p.scope_id = f.scope_id AND p.sha = f.sha AND p.workflow_key = f.workflow_key AND p.verdict = 'passed');
INSERT INTO run_days (connection_id, day, workflow_key, scope_class, workflow, last_run_at, passed, failed, flaky)
    SELECT r.connection_id, day_of(r.run_created_at), r.workflow_key, scope_class(s.kind, s.is_main),
        (array_agg(r.workflow ORDER BY r.run_created_at DESC, r.workflow))[1], max(r.run_created_at),
        count(*) FILTER (WHERE r.verdict = 'passed'), count(*) FILTER (WHERE r.verdict = 'failed'), count(*) FILTER (WHERE r.is_flaky)
    FROM runs r JOIN scopes s ON s.id = r.scope_id GROUP BY 1, 2, 3, 4;
