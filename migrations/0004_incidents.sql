-- +goose Up

-- What runs are about: a branch, or the proposed changes of one. A fork's
-- branch of the same name is another scope.
CREATE TABLE scopes (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id   text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    kind            text NOT NULL CHECK (kind IN ('branch', 'change')),
    branch          text NOT NULL,
    head_repository text NOT NULL, -- empty, or the fork that the code comes from
    is_main         boolean NOT NULL DEFAULT false, -- everybody builds on it: the default branch
    CONSTRAINT scopes_key UNIQUE (connection_id, kind, branch, head_repository)
);
-- Which of them are main, their next runs say.
INSERT INTO scopes (connection_id, kind, branch, head_repository)
    SELECT DISTINCT connection_id, CASE head_repository WHEN '' THEN 'branch' ELSE 'change' END, branch, head_repository FROM lanes;

ALTER TABLE runs
    ADD COLUMN scope_id       bigint REFERENCES scopes ON DELETE CASCADE,
    ADD COLUMN workflow_key   text NOT NULL DEFAULT '',
    ADD COLUMN workflow       text NOT NULL DEFAULT '',
    ADD COLUMN run_created_at timestamptz, -- by the forge, the same for all attempts; orders the runs of a scope
    ADD COLUMN jobs_known     boolean NOT NULL DEFAULT false,
    ADD COLUMN passed_jobs    text[] NOT NULL DEFAULT '{}';
UPDATE runs r SET scope_id = s.id, workflow_key = l.workflow_key, run_created_at = COALESCE(r.started_at, r.finished_at),
        workflow = COALESCE((SELECT i.workflow FROM incidents i WHERE i.lane_id = l.id LIMIT 1), l.workflow_key)
    FROM lanes l JOIN scopes s ON s.connection_id = l.connection_id AND s.branch = l.branch AND s.head_repository = l.head_repository
    WHERE r.lane_id = l.id;
ALTER TABLE runs ALTER COLUMN scope_id SET NOT NULL, ALTER COLUMN run_created_at SET NOT NULL;
DROP INDEX runs_order;
CREATE INDEX runs_order ON runs (scope_id, run_created_at, number, run_id, attempt);

ALTER TABLE incidents
    ADD COLUMN scope_id       bigint REFERENCES scopes ON DELETE CASCADE,
    ADD COLUMN fingerprint    text NOT NULL DEFAULT '',
    ADD COLUMN fingerprint_key text NOT NULL DEFAULT '', -- readable: what the fingerprint was made of
    ADD COLUMN specificity    text NOT NULL DEFAULT 'low' CHECK (specificity IN ('high', 'medium', 'low')),
    ADD COLUMN category       text NOT NULL DEFAULT 'unknown',
    ADD COLUMN headline       text NOT NULL DEFAULT '',
    ADD COLUMN job            text NOT NULL DEFAULT '',
    ADD COLUMN episode        integer NOT NULL DEFAULT 1,
    ADD COLUMN is_flaky       boolean NOT NULL DEFAULT false,
    ADD COLUMN resolution     text NOT NULL DEFAULT '', -- why it is resolved; empty while it is not
    ADD COLUMN recurrence_of  text REFERENCES incidents ON DELETE SET NULL,
    ADD COLUMN duplicate_of   text REFERENCES incidents ON DELETE SET NULL,
    ADD COLUMN acknowledged_episode integer NOT NULL DEFAULT 0,
    ADD COLUMN acknowledged_by text NOT NULL DEFAULT '',
    ADD COLUMN acknowledged_at timestamptz,
    ADD COLUMN assigned_to    text NOT NULL DEFAULT '', -- by a person; wins over every rule
    ADD COLUMN snoozed_until  timestamptz,
    ADD COLUMN snoozed_count  integer, -- until it has so many occurrences
    ADD COLUMN snoozed_sha    text NOT NULL DEFAULT '', -- until a failed commit contains this one
    ADD COLUMN is_touched     boolean NOT NULL DEFAULT false; -- people have done something about it
UPDATE incidents i SET scope_id = s.id, resolution = CASE i.status WHEN 'resolved' THEN 'green' ELSE '' END,
        fingerprint = 'fp1:run:' || left(encode(sha256(convert_to('run', 'UTF8') || '\x00'::bytea || convert_to(l.workflow_key, 'UTF8')), 'hex'), 32)
    FROM lanes l JOIN scopes s ON s.connection_id = l.connection_id AND s.branch = l.branch AND s.head_repository = l.head_repository
    WHERE i.lane_id = l.id;
DROP INDEX incidents_one_open_in_a_lane;
ALTER TABLE incidents ALTER COLUMN scope_id SET NOT NULL, DROP COLUMN lane_id, DROP CONSTRAINT incidents_status_check,
    ADD CONSTRAINT incidents_status_check CHECK (status IN ('suspected', 'open', 'acknowledged', 'fixing', 'verifying', 'resolved'));
CREATE UNIQUE INDEX incidents_one_open ON incidents (scope_id, fingerprint) WHERE status <> 'resolved';
CREATE INDEX incidents_scope ON incidents (scope_id, last_seen_at);
CREATE INDEX incidents_fingerprint ON incidents (connection_id, fingerprint);

-- The failed jobs of runs, each of one incident. Job 0 is a run whose jobs are
-- not known, or that had none.
CREATE TABLE occurrences (
    connection_id text NOT NULL,
    run_id        bigint NOT NULL,
    attempt       bigint NOT NULL,
    job_id        bigint NOT NULL,
    scope_id      bigint NOT NULL REFERENCES scopes ON DELETE CASCADE,
    job           text NOT NULL, -- full name
    fingerprint   text NOT NULL,
    is_low        boolean NOT NULL, -- the fingerprint says no more than which job it was
    is_infra      boolean NOT NULL,
    incident_id   text REFERENCES incidents ON DELETE SET NULL,
    episode       integer NOT NULL DEFAULT 1,
    is_stale      boolean NOT NULL DEFAULT false,
    PRIMARY KEY (connection_id, run_id, attempt, job_id),
    FOREIGN KEY (connection_id, run_id, attempt) REFERENCES runs ON DELETE CASCADE
);
CREATE INDEX occurrences_incident ON occurrences (incident_id) WHERE incident_id IS NOT NULL;
INSERT INTO occurrences (connection_id, run_id, attempt, job_id, scope_id, job, fingerprint, is_low, is_infra, incident_id)
    SELECT r.connection_id, r.run_id, r.attempt, 0, r.scope_id, '', i.fingerprint, true, false, i.id
    FROM runs r JOIN incidents i ON i.id = r.incident_id WHERE r.verdict = 'failed';
UPDATE runs SET jobs_known = true WHERE verdict = 'failed';
DROP INDEX runs_incident;
ALTER TABLE runs DROP COLUMN incident_id, DROP COLUMN lane_id;
DROP TABLE lanes;

-- What people and sweeps did to incidents, placed among the runs.
CREATE TABLE incident_cuts (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope_id      bigint NOT NULL REFERENCES scopes ON DELETE CASCADE,
    fingerprint   text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('close', 'reopen')),
    reason        text NOT NULL,
    after_created_at timestamptz NOT NULL,
    after_number  bigint NOT NULL,
    after_run_id  bigint NOT NULL,
    after_attempt bigint NOT NULL,
    at            timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX incident_cuts_scope ON incident_cuts (scope_id);

-- The last green log of each job, as a digest: what a failed log is compared to.
CREATE TABLE green_logs (
    connection_id text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    workflow_key  text NOT NULL,
    job           text NOT NULL,
    run_id        bigint NOT NULL,
    digest        bytea NOT NULL,
    PRIMARY KEY (connection_id, workflow_key, job)
);

-- Which commits contain which, as the forge said.
CREATE TABLE commit_relations (
    connection_id text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    head          text NOT NULL,
    base          text NOT NULL,
    contains      boolean NOT NULL,
    PRIMARY KEY (connection_id, head, base)
);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['scopes', 'occurrences', 'green_logs', 'commit_relations'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY seen ON %I USING ((SELECT is_system()) OR connection_id IN (SELECT id FROM repository_connections))', t);
    END LOOP;
END $$;
-- +goose StatementEnd
ALTER TABLE incident_cuts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON incident_cuts USING ((SELECT is_system()) OR scope_id IN (SELECT id FROM scopes));
