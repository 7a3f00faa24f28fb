-- +goose Up

-- The file that describes the workflow of a run, as far as the forge tells.
ALTER TABLE runs ADD COLUMN workflow_file text NOT NULL DEFAULT '';

ALTER TABLE incidents
    ADD COLUMN owner_chosen_at timestamptz, -- when it was first known whose it is; until then the owner is the default
    ADD COLUMN culprit_state text NOT NULL DEFAULT 'unknown'
        CHECK (culprit_state IN ('unknown', 'range', 'suspect', 'probable', 'confirmed')),
    ADD COLUMN culprit_sha text NOT NULL DEFAULT '', -- of the first suspect
    ADD COLUMN culprit jsonb; -- the range, the suspects and why; null until somebody has looked

-- Whose the failures of a repository are, by the word of its users: tried in
-- the order of their positions. An empty glob fits everything.
CREATE TABLE routing_rules (
    connection_id text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    position      integer NOT NULL, -- from 1
    owner         text NOT NULL,
    workflow      text NOT NULL,
    job           text NOT NULL,
    branch        text NOT NULL,
    path          text NOT NULL,
    category      text NOT NULL,
    fingerprint   text NOT NULL,
    PRIMARY KEY (connection_id, position)
);

-- The CODEOWNERS file of a branch's head, also when there is none (the path
-- is empty then), so that the forge is not asked for every incident.
CREATE TABLE codeowners (
    connection_id text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    branch        text NOT NULL,
    path          text NOT NULL,
    blob_id       text NOT NULL, -- git's name of the content
    content       text NOT NULL,
    read_at       timestamptz NOT NULL,
    PRIMARY KEY (connection_id, branch)
);

-- The commits of a branch between two that were tried, with their files, as
-- the forge said. They never change.
CREATE TABLE commit_ranges (
    connection_id text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    base          text NOT NULL,
    head          text NOT NULL,
    commits       jsonb NOT NULL,
    read_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, base, head)
);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['routing_rules', 'codeowners', 'commit_ranges'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY seen ON %I USING ((SELECT is_system()) OR connection_id IN (SELECT id FROM repository_connections))', t);
    END LOOP;
END $$;
-- +goose StatementEnd
