-- +goose Up
CREATE TABLE users (
    id         text PRIMARY KEY, -- usr_…
    name       text NOT NULL,
    is_admin   boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_name_key UNIQUE (name)
);

-- One user's link to one repository, and the hook that it owns.
CREATE TABLE repository_connections (
    id                       text PRIMARY KEY, -- rpc_…
    user_id                  text NOT NULL REFERENCES users ON DELETE CASCADE,
    provider                 text NOT NULL CHECK (provider IN ('github', 'gitlab')),
    repository_id            bigint, -- the forge's numeric id; NULL until the forge has told it
    repository_full_name     text NOT NULL,
    is_enabled               boolean NOT NULL DEFAULT true,
    auto_pr_enabled          boolean NOT NULL,
    setup_webhook            boolean NOT NULL,
    webhook_id               bigint,
    webhook_url              text NOT NULL,
    webhook_secret           text NOT NULL,            -- Fernet token of the active secret
    webhook_secret_next      text NOT NULL DEFAULT '', -- Fernet token; set while a rotation is under way
    webhook_secret_previous  text NOT NULL DEFAULT '', -- Fernet token; valid for a grace period after a rotation
    webhook_signs            boolean NOT NULL DEFAULT false, -- GitLab: deliveries must carry a signature
    webhook_events           text[] NOT NULL,
    webhook_status           text NOT NULL CHECK (webhook_status IN ('pending', 'active', 'inactive', 'failed')),
    webhook_error            jsonb,
    webhook_created_at       timestamptz,
    webhook_last_delivery_at timestamptz,
    created_at               timestamptz NOT NULL DEFAULT now(),
    updated_at               timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX repository_connections_user_name_key
    ON repository_connections (user_id, provider, lower(repository_full_name));
CREATE UNIQUE INDEX repository_connections_user_repository_key
    ON repository_connections (user_id, provider, repository_id);
CREATE INDEX repository_connections_repository ON repository_connections (provider, repository_id);
CREATE INDEX repository_connections_webhook ON repository_connections (provider, webhook_id);
CREATE INDEX repository_connections_name ON repository_connections (provider, lower(repository_full_name));

-- Tells the receivers of all processes which cached connections are stale. It
-- stays silent for webhook_last_delivery_at, which changes all the time.
-- +goose StatementBegin
CREATE FUNCTION announce_connection() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('connections', json_build_object(
            'id', OLD.id, 'provider', OLD.provider, 'repository_id', OLD.repository_id,
            'webhook_id', OLD.webhook_id, 'full_name', lower(OLD.repository_full_name))::text);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('connections', json_build_object(
            'id', NEW.id, 'provider', NEW.provider, 'repository_id', NEW.repository_id,
            'webhook_id', NEW.webhook_id, 'full_name', lower(NEW.repository_full_name))::text);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER announce_connection_rows
    AFTER INSERT OR DELETE OR UPDATE OF is_enabled, repository_id, repository_full_name, webhook_id,
        webhook_secret, webhook_secret_next, webhook_secret_previous, webhook_signs
    ON repository_connections FOR EACH ROW EXECUTE FUNCTION announce_connection();

-- A hook that has to go although its connection is gone. It holds no secret.
CREATE TABLE hook_tombstones (
    id                   text PRIMARY KEY, -- tmb_…
    provider             text NOT NULL,
    repository_id        bigint,
    repository_full_name text NOT NULL,
    webhook_id           bigint,
    webhook_url          text NOT NULL,
    error                text NOT NULL DEFAULT '', -- why the last try did not delete it, for people
    created_at           timestamptz NOT NULL DEFAULT now(),
    deleted_at           timestamptz -- when the forge confirmed
);

-- The ledger: one row for each delivery that was applied. It is not
-- partitioned, so that its key holds for all days.
CREATE TABLE delivery_keys (
    scope       text NOT NULL, -- the connection, or the installation (ins_…) for the GitHub App
    delivery_id text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (scope, delivery_id)
);
CREATE INDEX delivery_keys_received ON delivery_keys USING brin (received_at);

-- What became of each delivery; partitioned by day, dropped by partition.
CREATE TABLE deliveries (
    received_at timestamptz NOT NULL,
    scope       text NOT NULL,
    delivery_id text NOT NULL,
    provider    text NOT NULL,
    event       text NOT NULL,
    action      text NOT NULL,
    source      text NOT NULL, -- pushed, …
    outcome     text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (received_at);
CREATE INDEX deliveries_scope ON deliveries (scope, received_at);
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;

-- Bodies too large for Redis, until their delivery is applied.
CREATE TABLE bodies (
    key        text PRIMARY KEY,
    body       bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Tasks on their way to Redis: follow-ups written in the transaction that
-- caused them, and deliveries that Redis did not take.
CREATE TABLE outbox (
    task_id    text PRIMARY KEY,
    type       text NOT NULL,
    payload    bytea NOT NULL,
    headers    jsonb NOT NULL,
    not_before timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_due ON outbox (not_before);

-- The place where a colour is kept: a workflow on a branch.
CREATE TABLE lanes (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id   text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    workflow_key    text NOT NULL,
    branch          text NOT NULL,
    head_repository text NOT NULL, -- empty, or the fork that the code comes from
    CONSTRAINT lanes_key UNIQUE (connection_id, workflow_key, branch, head_repository)
);

CREATE TABLE incidents (
    id               text PRIMARY KEY, -- inc_…
    connection_id    text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    lane_id          bigint NOT NULL REFERENCES lanes ON DELETE CASCADE,
    status           text NOT NULL CHECK (status IN ('open', 'resolved')),
    severity         text NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    title            text NOT NULL,
    workflow         text NOT NULL,
    branch           text NOT NULL,
    owner            text NOT NULL,
    owner_rule       text NOT NULL,
    opened_at        timestamptz NOT NULL, -- when the first failed run ended, by the forge's clock
    last_seen_at     timestamptz NOT NULL, -- when the last failed run ended
    resolved_at      timestamptz,          -- when the resolving run ended
    resolved_run_id  bigint,
    resolved_attempt bigint,
    resolved_sha     text NOT NULL DEFAULT '',
    resolved_url     text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX incidents_one_open_in_a_lane ON incidents (lane_id) WHERE status = 'open';
CREATE INDEX incidents_newest ON incidents (connection_id, opened_at DESC, id DESC);

-- The settled runs of a lane, in the forge's own order. A failed run is an
-- occurrence of exactly one incident.
CREATE TABLE runs (
    connection_id text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    run_id        bigint NOT NULL,
    attempt       bigint NOT NULL,
    lane_id       bigint NOT NULL REFERENCES lanes ON DELETE CASCADE,
    number        bigint NOT NULL,
    verdict       text NOT NULL CHECK (verdict IN ('failed', 'passed')),
    conclusion    text NOT NULL,
    title         text NOT NULL,
    trigger       text NOT NULL,
    sha           text NOT NULL,
    commit_title  text NOT NULL,
    author        text NOT NULL,
    url           text NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz NOT NULL,
    incident_id   text REFERENCES incidents ON DELETE CASCADE,
    jobs          jsonb NOT NULL DEFAULT '[]', -- failed jobs with the lines around the error
    evidence      text NOT NULL DEFAULT '', -- '' none wanted, pending, ready, or why there is none
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, run_id, attempt)
);
CREATE INDEX runs_order ON runs (lane_id, number, attempt, run_id);
CREATE INDEX runs_incident ON runs (incident_id) WHERE incident_id IS NOT NULL;

-- Every change of an incident; nothing here is ever changed.
CREATE TABLE incident_entries (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id text NOT NULL REFERENCES incidents ON DELETE CASCADE,
    at          timestamptz NOT NULL DEFAULT now(),
    kind        text NOT NULL,
    actor       text NOT NULL,
    reason      text NOT NULL,
    inputs      jsonb NOT NULL
);
CREATE INDEX incident_entries_incident ON incident_entries (incident_id, id);
