-- +goose Up

-- Pages that show incidents follow all that they show of them: every line of
-- their history, what is found out, and evidence that has come. A change of a
-- status is announced by the trigger of before, and what a transaction says
-- twice is heard once.
-- +goose StatementBegin
CREATE FUNCTION announce_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('changes', json_build_object('kind', 'incident', 'topic', i.connection_id, 'user_id', '')::text)
        FROM incidents i WHERE i.id = NEW.incident_id;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER announce_entry_rows AFTER INSERT ON incident_entries FOR EACH ROW EXECUTE FUNCTION announce_entry();
CREATE TRIGGER announce_finding_rows
    AFTER UPDATE OF headline, severity, owner, snoozed_at, culprit_state, culprit_sha ON incidents FOR EACH ROW
    WHEN ((OLD.headline, OLD.severity, OLD.owner, OLD.snoozed_at, OLD.culprit_state, OLD.culprit_sha)
        IS DISTINCT FROM (NEW.headline, NEW.severity, NEW.owner, NEW.snoozed_at, NEW.culprit_state, NEW.culprit_sha))
    EXECUTE FUNCTION announce_incident();
CREATE TRIGGER announce_evidence_rows
    AFTER UPDATE OF evidence ON runs FOR EACH ROW
    WHEN (OLD.evidence = 'pending' AND NEW.evidence <> 'pending') EXECUTE FUNCTION announce_incident();

-- A channel's page follows how the channel is.
-- +goose StatementBegin
CREATE FUNCTION announce_channel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('changes', json_build_object('kind', 'channel', 'topic', NEW.id, 'user_id', NEW.user_id)::text);
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER announce_channel_rows
    AFTER UPDATE OF status, error ON notification_channels FOR EACH ROW
    WHEN ((OLD.status, OLD.error) IS DISTINCT FROM (NEW.status, NEW.error)) EXECUTE FUNCTION announce_channel();

-- What the list of incidents, and one incident's relations, are found by.
CREATE INDEX incidents_unresolved ON incidents (connection_id) WHERE status <> 'resolved';
CREATE INDEX incidents_opened ON incidents (opened_at DESC, id DESC);
CREATE INDEX incidents_recurrence ON incidents (recurrence_of) WHERE recurrence_of IS NOT NULL;
