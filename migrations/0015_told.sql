-- +goose Up

-- What people were told of incidents: an entry as which kind of change, and an
-- incident as what it last was to them.
ALTER TABLE incident_entries ADD COLUMN told_as text NOT NULL DEFAULT ''; -- empty: not worth telling
ALTER TABLE incidents
    ADD COLUMN told_status text NOT NULL DEFAULT '' CHECK (told_status IN ('', 'open', 'resolved')),
    ADD COLUMN told_owner  text NOT NULL DEFAULT '';

-- How severe incidents are, by the branch: [{"branch": "release/*", "severity":
-- "critical"}, …], of which the first that fits decides.
ALTER TABLE repository_connections ADD COLUMN incident_severity jsonb NOT NULL DEFAULT '[]';

-- The pull or merge request that a scope is about; 0 while it is not known.
ALTER TABLE scopes ADD COLUMN change_number bigint NOT NULL DEFAULT 0;

-- What the forge shows of a scope's incidents: our comment on the change, and
-- our check of the last commit that failed. A digest tells whether it has to
-- be written anew; an error says for people why the forge refused it.
CREATE TABLE incident_reports (
    scope_id        bigint PRIMARY KEY REFERENCES scopes ON DELETE CASCADE,
    connection_id   text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    change_number   bigint NOT NULL DEFAULT 0, -- that the comment is on
    comment_id      bigint NOT NULL DEFAULT 0,
    comment_url     text NOT NULL DEFAULT '',
    comment_digest  text NOT NULL DEFAULT '',
    comment_error   text NOT NULL DEFAULT '',
    comment_refused_at timestamptz,
    check_sha       text NOT NULL DEFAULT '',
    check_digest    text NOT NULL DEFAULT '',
    check_error     text NOT NULL DEFAULT '',
    check_refused_at timestamptz
);
CREATE INDEX incident_reports_connection ON incident_reports (connection_id);
ALTER TABLE incident_reports ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON incident_reports USING ((SELECT is_system()) OR connection_id IN (SELECT id FROM repository_connections));
