-- +goose Up

-- Whom the operator made by hand; they may use the operator's own access to
-- the forges. All users were made so until now.
ALTER TABLE users ADD COLUMN is_trusted boolean NOT NULL DEFAULT true;
ALTER TABLE users ALTER COLUMN is_trusted SET DEFAULT false;

-- Who a user is elsewhere: one account at each forge, and at the operator's
-- OIDC issuer.
CREATE TABLE identities (
    provider   text NOT NULL CHECK (provider IN ('github', 'gitlab', 'oidc')),
    subject    text NOT NULL, -- the forge's numeric id of the account; OIDC's sub
    user_id    text NOT NULL REFERENCES users ON DELETE CASCADE,
    login      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, subject),
    CONSTRAINT identities_user_provider_key UNIQUE (user_id, provider)
);

-- What a user has authorised us to do at a forge.
CREATE TABLE grants (
    user_id       text NOT NULL REFERENCES users ON DELETE CASCADE,
    provider      text NOT NULL CHECK (provider IN ('github', 'gitlab')),
    client        text NOT NULL CHECK (client IN ('oauth', 'app')), -- app: the GitHub App's user tokens
    login         text NOT NULL,
    scopes        text[] NOT NULL,
    access_token  text NOT NULL, -- Fernet token
    refresh_token text NOT NULL DEFAULT '', -- Fernet token; empty when the access token does not expire
    expires_at    timestamptz,   -- NULL: the access token does not expire
    status        text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'lost', 'leaving')),
    reason        text NOT NULL DEFAULT '', -- for people: why it is lost
    created_at    timestamptz NOT NULL DEFAULT now(),
    refreshed_at  timestamptz NOT NULL DEFAULT now(),
    -- app: when GitHub last said what the user may see; NULL: never
    access_asked_at timestamptz,
    PRIMARY KEY (user_id, provider, client)
);
CREATE INDEX grants_expiring ON grants (expires_at) WHERE status = 'active' AND expires_at IS NOT NULL;

-- Browsers that are logged in; the layout is that of alexedwards/scs.
CREATE TABLE sessions (
    token  text PRIMARY KEY, -- hashed
    data   bytea NOT NULL,
    expiry timestamptz NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expiry);

-- Refresh tokens, each good once. Those that came from one login are a family.
CREATE TABLE refresh_tokens (
    hash       bytea PRIMARY KEY, -- SHA-256
    family     text NOT NULL,
    user_id    text NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);

-- Personal API tokens.
CREATE TABLE api_tokens (
    id           text PRIMARY KEY, -- tok_…
    user_id      text NOT NULL REFERENCES users ON DELETE CASCADE,
    name         text NOT NULL,
    hash         bytea NOT NULL, -- SHA-256
    hint         text NOT NULL,  -- the last characters, to tell tokens apart
    scopes       text[] NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    CONSTRAINT api_tokens_hash_key UNIQUE (hash)
);
CREATE INDEX api_tokens_user ON api_tokens (user_id);

-- The GitHub App, when it was made by `devflowfix app create`.
CREATE TABLE github_app (
    singleton      boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    id             bigint NOT NULL,
    slug           text NOT NULL,
    name           text NOT NULL,
    html_url       text NOT NULL,
    client_id      text NOT NULL,
    client_secret  text NOT NULL, -- Fernet token
    webhook_secret text NOT NULL, -- Fernet token
    private_key    text NOT NULL, -- Fernet token
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- Where the GitHub App is installed, as GitHub last said.
CREATE TABLE installations (
    id           bigint PRIMARY KEY, -- GitHub's
    account      text NOT NULL,      -- login; it follows renames
    account_id   bigint NOT NULL,
    selection    text NOT NULL,      -- all or selected
    permissions  jsonb NOT NULL,
    events       text[] NOT NULL,
    settings_url text NOT NULL,
    suspended_at timestamptz,
    synced_at    timestamptz NOT NULL, -- when GitHub was last asked
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- A connection belongs to the user who made it or to an installation.
ALTER TABLE repository_connections
    ALTER COLUMN user_id DROP NOT NULL,
    ADD COLUMN installation_id bigint REFERENCES installations ON DELETE CASCADE,
    ADD CONSTRAINT repository_connections_owner CHECK ((user_id IS NULL) <> (installation_id IS NULL));
CREATE UNIQUE INDEX repository_connections_installed_key
    ON repository_connections (provider, repository_id) WHERE installation_id IS NOT NULL;
CREATE INDEX repository_connections_installation
    ON repository_connections (installation_id) WHERE installation_id IS NOT NULL;

-- What GitHub says a user may do in the repositories of installations. It is
-- refreshed, and counts for an hour.
CREATE TABLE repository_access (
    user_id         text NOT NULL REFERENCES users ON DELETE CASCADE,
    provider        text NOT NULL,
    repository_id   bigint NOT NULL,
    installation_id bigint NOT NULL,
    permission      text NOT NULL CHECK (permission IN ('read', 'write', 'admin')),
    refreshed_at    timestamptz NOT NULL,
    PRIMARY KEY (user_id, provider, repository_id)
);

-- Whose authorisation deletes a hook whose connection is gone.
ALTER TABLE hook_tombstones ADD COLUMN user_id text NOT NULL DEFAULT '';

-- Who did what; nothing here is ever changed.
CREATE TABLE audit_entries (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    user_id    text NOT NULL, -- whom it concerns; empty for the system's own
    actor      text NOT NULL, -- name of the user, `operator` or `devflowfix`
    action     text NOT NULL,
    target     text NOT NULL,
    detail     jsonb NOT NULL DEFAULT '{}',
    request_id text NOT NULL DEFAULT '',
    address    text NOT NULL DEFAULT '' -- of the client
);
CREATE INDEX audit_entries_user ON audit_entries (user_id, id);

-- A known text under the encryption key, so that a wrong key is noticed at the
-- start and not at the first secret.
CREATE TABLE key_check (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    token     text NOT NULL
);

-- Row-level security. A session that serves a request says whom it serves in
-- the setting devflowfix.user, for one transaction; the workers' and the
-- receiver's sessions say devflowfix.system = on. A session that says neither
-- sees nothing. FORCE makes it hold for the owner of the tables too, so it
-- works with one role, as managed databases have it; superusers are exempt,
-- whatever we do.
-- +goose StatementBegin
CREATE FUNCTION is_system() RETURNS boolean LANGUAGE sql STABLE
    RETURN COALESCE(current_setting('devflowfix.system', true) = 'on', false);
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION served_user() RETURNS text LANGUAGE sql STABLE
    RETURN NULLIF(current_setting('devflowfix.user', true), '');
-- +goose StatementEnd

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    -- What belongs to a user, who may change it …
    FOREACH t IN ARRAY ARRAY['grants', 'api_tokens'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON %I USING ((SELECT is_system()) OR user_id = (SELECT served_user()))', t);
    END LOOP;
    -- … or only see it: it says who they are and what they may do.
    FOREACH t IN ARRAY ARRAY['identities', 'refresh_tokens', 'repository_access', 'audit_entries'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY system ON %I USING ((SELECT is_system()))', t);
        EXECUTE format('CREATE POLICY own ON %I FOR SELECT USING (user_id = (SELECT served_user()))', t);
    END LOOP;
    -- What belongs to a connection: whoever sees that sees this.
    FOREACH t IN ARRAY ARRAY['lanes', 'incidents', 'runs'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY seen ON %I USING ((SELECT is_system()) OR connection_id IN (SELECT id FROM repository_connections))', t);
    END LOOP;
END $$;
-- +goose StatementEnd
ALTER TABLE repository_connections ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON repository_connections USING (
    (SELECT is_system()) OR user_id = (SELECT served_user())
    OR installation_id IS NOT NULL AND (provider, repository_id) IN (
        SELECT a.provider, a.repository_id FROM repository_access a
        WHERE a.user_id = (SELECT served_user()) AND a.refreshed_at > now() - interval '1 hour'));
ALTER TABLE incident_entries ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON incident_entries USING (
    (SELECT is_system()) OR incident_id IN (SELECT id FROM incidents));
ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen ON deliveries USING (
    (SELECT is_system()) OR scope IN (SELECT id FROM repository_connections));
