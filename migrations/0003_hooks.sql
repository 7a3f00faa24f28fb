-- +goose Up

-- A hook's secret under rotation, what the forge last said of the hook, and
-- how well it is.
ALTER TABLE repository_connections
    ADD COLUMN webhook_next_at        timestamptz, -- when the next secret was stored
    ADD COLUMN webhook_next_sent_at   timestamptz, -- when the forge was asked to use it
    ADD COLUMN webhook_previous_until timestamptz, -- the previous secret is good until then
    ADD COLUMN webhook_rotated_at     timestamptz, -- when the active secret became active; NULL: when it was made
    ADD COLUMN webhook_verified_at    timestamptz, -- last delivery that was verified with the active secret
    ADD COLUMN webhook_checked_at     timestamptz, -- when the forge was last asked for the hook
    ADD COLUMN webhook_refused_at     timestamptz, -- last delivery for this hook that no secret verified
    ADD COLUMN webhook_resent_at      timestamptz, -- when a worker was last asked to send the secret again for that
    ADD COLUMN webhook_missed_at      timestamptz, -- when a run was found that the hook had not told of
    ADD COLUMN former_urls            text[] NOT NULL DEFAULT '{}', -- that the hook had and may still send to
    ADD COLUMN health                 text NOT NULL DEFAULT 'unverified'
        CHECK (health IN ('healthy', 'unverified', 'silent', 'failing', 'paused')),
    ADD COLUMN health_since           timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN health_reason          text NOT NULL DEFAULT '';

-- What was done with a hook, and why; nothing here is ever changed.
CREATE TABLE hook_entries (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id text NOT NULL REFERENCES repository_connections ON DELETE CASCADE,
    at            timestamptz NOT NULL DEFAULT now(),
    kind          text NOT NULL, -- create, adopt, update, verified, rotate, failed, …
    actor         text NOT NULL, -- name of the user, or devflowfix
    reason        text NOT NULL,
    hook_id       bigint NOT NULL DEFAULT 0
);
CREATE INDEX hook_entries_connection ON hook_entries (connection_id, id);
ALTER TABLE hook_entries ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON hook_entries USING (
    (SELECT is_system()) OR connection_id IN (SELECT id FROM repository_connections));

-- More of each delivery, for its user to see.
ALTER TABLE deliveries
    ADD COLUMN duration_ms integer NOT NULL DEFAULT 0, -- from its receipt to its effect
    ADD COLUMN attempts    integer NOT NULL DEFAULT 1,
    ADD COLUMN error       text NOT NULL DEFAULT '',
    ADD COLUMN payload     bytea; -- redacted and compressed; NULL when it was too large to keep

-- How far the forges' own delivery logs have been compared with the ledger:
-- every entry up to compared_to is in the ledger or waits in the queue.
CREATE TABLE reconciliations (
    log         text PRIMARY KEY, -- app, or the connection
    compared_to bigint NOT NULL DEFAULT 0, -- the log's id of the entry
    found       bigint NOT NULL DEFAULT 0, -- deliveries that were brought back, all in all
    compared_at timestamptz NOT NULL,
    runs_to     timestamptz -- runs that ended before are known
);

-- What is not done yet, for the sweep that asks for it once more.
CREATE INDEX runs_owed ON runs (recorded_at) WHERE evidence = 'pending';
CREATE INDEX hook_tombstones_owed ON hook_tombstones (created_at) WHERE deleted_at IS NULL;
