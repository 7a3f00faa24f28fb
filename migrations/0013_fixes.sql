-- +goose Up

-- What the runs alone make of an incident, under what people have done.
ALTER TABLE incidents ADD COLUMN run_status text NOT NULL DEFAULT 'open' CHECK (run_status IN ('suspected', 'open', 'resolved'));
UPDATE incidents SET run_status = CASE WHEN status IN ('suspected', 'resolved') THEN status ELSE 'open' END;

-- Pull and merge requests that mean to end incidents: those that we open, from
-- the moment that we mean to, and those that people link.
CREATE TABLE fix_changes (
    id            text PRIMARY KEY, -- fix_…
    connection_id text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    kind          text NOT NULL CHECK (kind IN ('revert', 'fixer', 'linked')),
    state         text NOT NULL CHECK (state IN ('opening', 'withdrawn', 'draft', 'open', 'approved', 'merged', 'closed')),
    reason        text NOT NULL DEFAULT '', -- why it was withdrawn
    number        bigint, -- NULL until the forge has it
    url           text NOT NULL DEFAULT '',
    title         text NOT NULL DEFAULT '',
    author        text NOT NULL DEFAULT '',
    branch        text NOT NULL,
    target_branch text NOT NULL,
    head_sha      text NOT NULL DEFAULT '',
    is_foreign    boolean NOT NULL DEFAULT false, -- from a fork: shown, and never trusted
    forge_state   text NOT NULL DEFAULT '', -- open, closed or merged
    is_merged     boolean NOT NULL DEFAULT false,
    is_draft      boolean NOT NULL DEFAULT false,
    approved_sha  text NOT NULL DEFAULT '', -- the head that somebody approved last
    approved_at   timestamptz,
    merge_sha     text NOT NULL DEFAULT '',
    culprit_sha   text NOT NULL DEFAULT '', -- the commit that a revert undoes
    base_sha      text NOT NULL DEFAULT '', -- the commit that patch is for
    patch         bytea, -- a fixer's answer, until the change is open
    created_at    timestamptz NOT NULL DEFAULT now(),
    opened_at     timestamptz, -- the oldest that the forge told of it
    updated_at    timestamptz, -- the newest, by the forge's clock
    closed_at     timestamptz,
    merged_at     timestamptz,
    reverted_at   timestamptz, -- when a commit that undoes it was pushed
    CONSTRAINT fix_changes_number UNIQUE (connection_id, number)
);
CREATE INDEX fix_changes_connection ON fix_changes (connection_id, created_at DESC, id DESC);
CREATE INDEX fix_changes_opening ON fix_changes (connection_id, branch) WHERE state = 'opening';
CREATE INDEX fix_changes_culprit ON fix_changes (culprit_sha) WHERE culprit_sha <> '';
CREATE INDEX fix_changes_merge ON fix_changes (connection_id, merge_sha) WHERE merge_sha <> '';

-- Which incidents a fix means to end.
CREATE TABLE incident_fixes (
    fix_id      text NOT NULL REFERENCES fix_changes ON DELETE CASCADE,
    incident_id text NOT NULL REFERENCES incidents ON DELETE CASCADE,
    is_failed   boolean NOT NULL DEFAULT false, -- it was merged, and the same failed on a commit that contains it
    PRIMARY KEY (fix_id, incident_id)
);
CREATE INDEX incident_fixes_incident ON incident_fixes (incident_id);

ALTER TABLE fix_changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON fix_changes USING ((SELECT is_system()) OR connection_id IN (SELECT id FROM repository_connections));
ALTER TABLE incident_fixes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON incident_fixes USING ((SELECT is_system()) OR fix_id IN (SELECT id FROM fix_changes));
