-- +goose Up

-- A user's ways to be told of incidents.
CREATE TABLE notification_channels (
    id              text PRIMARY KEY, -- ntc_…
    user_id         text NOT NULL REFERENCES users ON DELETE CASCADE,
    kind            text NOT NULL CHECK (kind IN ('slack', 'webhook', 'pagerduty')),
    name            text NOT NULL,
    url             text NOT NULL DEFAULT '', -- Fernet token: it may hold a secret
    conversation    text NOT NULL DEFAULT '', -- Slack's id of a channel
    secret          text NOT NULL DEFAULT '', -- Fernet token: bot token, routing key, or what signs a webhook
    secret_previous text NOT NULL DEFAULT '', -- Fernet token; signs beside secret until previous_until
    previous_until  timestamptz,
    leads_to        text NOT NULL, -- for people, without secrets
    hint            text NOT NULL, -- the secret's last characters
    filter          jsonb NOT NULL DEFAULT '{}',
    is_immediate    boolean NOT NULL,
    status          text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'failing', 'disabled')),
    error           text NOT NULL DEFAULT '', -- for people: why it is not active
    failing_since   timestamptz,
    last_sent_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX notification_channels_user ON notification_channels (user_id);

-- When a user wants to be told; without a row, always.
CREATE TABLE notification_settings (
    user_id        text PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    time_zone      text NOT NULL DEFAULT 'UTC',
    quiet_from     text NOT NULL DEFAULT '', -- 22:00
    quiet_to       text NOT NULL DEFAULT '', -- 07:00
    quiet_weekends boolean NOT NULL DEFAULT false,
    digest         text NOT NULL DEFAULT 'off' CHECK (digest IN ('off', 'hourly', 'daily'))
);

-- What a channel was told of an incident: what its receiver needs to go on
-- with the same message.
CREATE TABLE notification_messages (
    channel_id  text NOT NULL REFERENCES notification_channels ON DELETE CASCADE,
    incident_id text NOT NULL,
    prior       jsonb NOT NULL,
    last_entry  bigint NOT NULL, -- of the incident, that was told last
    sent_at     timestamptz NOT NULL,
    PRIMARY KEY (channel_id, incident_id)
);

-- Which changes a channel is told, and what became of each: one row once.
-- Those that wait for a digest are among them.
CREATE TABLE notification_notices (
    channel_id  text NOT NULL REFERENCES notification_channels ON DELETE CASCADE,
    incident_id text NOT NULL,
    entry_id    bigint NOT NULL,
    kind        text NOT NULL,
    way         text NOT NULL CHECK (way IN ('alone', 'digest')),
    reason      text NOT NULL, -- why it goes that way, or what became of it
    due_at      timestamptz NOT NULL,
    outcome     text NOT NULL DEFAULT 'waiting' CHECK (outcome IN ('waiting', 'told', 'superseded', 'refused', 'dropped')),
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (channel_id, incident_id, entry_id)
);
CREATE INDEX notification_notices_waiting ON notification_notices (due_at) WHERE outcome = 'waiting';
CREATE INDEX notification_notices_created ON notification_notices (created_at);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['notification_channels', 'notification_settings'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I USING ((SELECT is_system()) OR user_id = (SELECT served_user()))', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['notification_messages', 'notification_notices'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I USING ((SELECT is_system()) OR channel_id IN (SELECT id FROM notification_channels))', t);
    END LOOP;
END $$;
-- +goose StatementEnd
