-- +goose Up

-- The connections that a user sees: their own, and an installation's where
-- GitHub said within the hour that they may access the repository. Who has
-- connected it with a hook of their own sees that alone.
--
-- A policy that reads repository_connections has that table's policy evaluated
-- within its own, for each table of a query anew, by reading all of it. This
-- looks the user's up, and the planner does not see into it. Its conditions
-- alone say whose they are, so it passes for the system meanwhile; a failure
-- undoes that together with the transaction.
-- +goose StatementBegin
CREATE FUNCTION connections_of(viewer text) RETURNS SETOF text LANGUAGE plpgsql STABLE ROWS 100
    SET random_page_cost = 1 AS $$ -- for each is looked up, of tables that are in memory
DECLARE before text := COALESCE(current_setting('devflowfix.system', true), '');
BEGIN
    PERFORM set_config('devflowfix.system', 'on', true);
    RETURN QUERY
        SELECT c.id FROM repository_connections c WHERE c.user_id = viewer
        UNION ALL
        SELECT c.id FROM repository_access a JOIN repository_connections c USING (provider, repository_id)
        WHERE a.user_id = viewer AND a.refreshed_at > now() - interval '1 hour' AND c.installation_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM repository_connections o
                WHERE o.user_id = viewer AND o.provider = a.provider AND o.repository_id = a.repository_id);
    PERFORM set_config('devflowfix.system', before, true);
END $$;
-- +goose StatementEnd

-- What a row may become is still told by its own values.
ALTER POLICY seen ON repository_connections
    USING ((SELECT is_system()) OR user_id = (SELECT served_user())
        OR installation_id IS NOT NULL AND id IN (SELECT s FROM connections_of((SELECT served_user())) s))
    WITH CHECK ((SELECT is_system()) OR user_id = (SELECT served_user())
        OR installation_id IS NOT NULL AND (provider, repository_id) IN (
            SELECT a.provider, a.repository_id FROM repository_access a
            WHERE a.user_id = (SELECT served_user()) AND a.refreshed_at > now() - interval '1 hour'));
-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['codeowners', 'commit_ranges', 'commit_relations', 'fix_changes', 'green_logs', 'hook_entries', 'incident_reports',
        'incidents', 'occurrences', 'routing_rules', 'run_days', 'runs', 'scopes'] LOOP
        EXECUTE format('ALTER POLICY seen ON %I USING ((SELECT is_system()) OR connection_id IN (SELECT s FROM connections_of((SELECT served_user())) s))', t);
    END LOOP;
END $$;
-- +goose StatementEnd
ALTER POLICY seen ON deliveries USING ((SELECT is_system()) OR scope IN (SELECT s FROM connections_of((SELECT served_user())) s));

-- What belongs to a row that the user may see. Few are looked at, mostly: of
-- EXISTS the planner knows that it can look each up.
ALTER POLICY seen ON incident_entries USING (
    (SELECT is_system()) OR EXISTS (SELECT FROM incidents i WHERE i.id = incident_id));
ALTER POLICY seen ON incident_fixes USING (
    (SELECT is_system()) OR EXISTS (SELECT FROM fix_changes f WHERE f.id = fix_id));
ALTER POLICY seen ON incident_cuts USING (
    (SELECT is_system()) OR EXISTS (SELECT FROM scopes s WHERE s.id = scope_id));
ALTER POLICY seen ON incident_aliases USING (
    (SELECT is_system()) OR EXISTS (SELECT FROM scopes s WHERE s.id = scope_id));

-- The days of a connection lie far apart: figures are read from the index.
ALTER TABLE run_days DROP CONSTRAINT run_days_pkey,
    ADD PRIMARY KEY (connection_id, day, workflow_key, scope_class) INCLUDE (workflow, last_run_at, passed, failed, flaky);
ALTER TABLE run_days SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);

-- Flaky runs are few among many.
CREATE INDEX runs_flaky ON runs (connection_id, run_created_at, run_id, attempt) WHERE is_flaky;
