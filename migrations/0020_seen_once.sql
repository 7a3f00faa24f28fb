-- +goose Up

-- What connections_of has found it keeps for the rest of a transaction that asks
-- for it, as those do that only read: policies ask again in each query, for each
-- table.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION connections_of(viewer text) RETURNS SETOF text LANGUAGE plpgsql STABLE ROWS 100
    SET random_page_cost = 1 AS $$ -- for each is looked up, of tables that are in memory
DECLARE
    before text := COALESCE(current_setting('devflowfix.system', true), '');
    kept text := COALESCE(current_setting('devflowfix.connections', true), ''); -- 'keep', or USER:ID ID …
    found text[];
BEGIN
    IF starts_with(kept, viewer || ':') THEN
        RETURN QUERY SELECT unnest(string_to_array(substr(kept, length(viewer) + 2), ' '));
        RETURN;
    END IF;
    PERFORM set_config('devflowfix.system', 'on', true);
    found := ARRAY(
        SELECT c.id FROM repository_connections c WHERE c.user_id = viewer
        UNION ALL
        SELECT c.id FROM repository_access a JOIN repository_connections c USING (provider, repository_id)
        WHERE a.user_id = viewer AND a.refreshed_at > now() - interval '1 hour' AND c.installation_id IS NOT NULL
            AND NOT EXISTS (SELECT FROM repository_connections o
                WHERE o.user_id = viewer AND o.provider = a.provider AND o.repository_id = a.repository_id));
    PERFORM set_config('devflowfix.system', before, true);
    IF kept = 'keep' THEN
        PERFORM set_config('devflowfix.connections', viewer || ':' || array_to_string(found, ' '), true);
    END IF;
    RETURN QUERY SELECT unnest(found);
END $$;
-- +goose StatementEnd
