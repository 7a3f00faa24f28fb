-- +goose Up

-- Tells the web processes what has changed, so that the pages which show it
-- are brought up to date. The topic is the connection; whom it concerns is
-- left empty where several people may see it. It stays silent for what every
-- delivery changes: a notification makes transactions commit one by one.
-- +goose StatementBegin
CREATE FUNCTION announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM pg_notify('changes', json_build_object('kind', 'connection', 'topic', OLD.id, 'user_id', COALESCE(OLD.user_id, ''))::text);
    ELSE
        PERFORM pg_notify('changes', json_build_object('kind', 'connection', 'topic', NEW.id, 'user_id', COALESCE(NEW.user_id, ''))::text);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER announce_change_rows
    AFTER INSERT OR DELETE OR UPDATE OF is_enabled, auto_pr_enabled, repository_full_name, webhook_id, webhook_status, webhook_error,
        webhook_secret_next, webhook_events, health, health_reason
    ON repository_connections FOR EACH ROW EXECUTE FUNCTION announce_change();

-- The same for incidents, to which a connection's viewers are found by the
-- web process.
-- +goose StatementBegin
CREATE FUNCTION announce_incident() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('changes', json_build_object('kind', 'incident', 'topic', NEW.connection_id, 'user_id', '')::text);
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER announce_incident_rows
    AFTER INSERT OR UPDATE OF status ON incidents FOR EACH ROW EXECUTE FUNCTION announce_incident();
