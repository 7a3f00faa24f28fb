package store

import (
	"context"
	"fmt"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// GitHubApp returns the App that was registered through us; NotFound when none
// was.
func (s *Store) GitHubApp(ctx context.Context) (forge.App, error) {
	var row struct {
		ID            int64  `db:"id"`
		Slug          string `db:"slug"`
		Name          string `db:"name"`
		URL           string `db:"html_url"`
		ClientID      string `db:"client_id"`
		ClientSecret  string `db:"client_secret"`
		WebhookSecret string `db:"webhook_secret"`
		PrivateKey    string `db:"private_key"`
	}
	err := s.db.GetContext(ctx, &row, `
		SELECT id, slug, name, html_url, client_id, client_secret, webhook_secret, private_key FROM github_app`)
	if err = classify(err); fault.Is(err, fault.NotFound) {
		return forge.App{}, fault.Wrap(fault.NotFound, err, "There is no GitHub App. `devflowfix app create` registers one.")
	}
	if err != nil {
		return forge.App{}, fmt.Errorf("github app: %w", err)
	}
	app := forge.App{ID: row.ID, Slug: row.Slug, Name: row.Name, URL: row.URL, ClientID: row.ClientID}
	for _, sealed := range []struct {
		to    *secret.Text
		token string
	}{{&app.ClientSecret, row.ClientSecret}, {&app.WebhookSecret, row.WebhookSecret}, {&app.PrivateKey, row.PrivateKey}} {
		if *sealed.to, err = s.decrypt(sealed.token); err != nil {
			return forge.App{}, err
		}
	}
	return app, nil
}

// SaveGitHubApp keeps a registration, in the place of an earlier one.
func (s *Store) SaveGitHubApp(ctx context.Context, app forge.App) error {
	var sealed [3]string
	for i, t := range []secret.Text{app.ClientSecret, app.WebhookSecret, app.PrivateKey} {
		var err error
		if sealed[i], err = s.ring.Encrypt(t); err != nil {
			return err
		}
	}
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO github_app (id, slug, name, html_url, client_id, client_secret, webhook_secret, private_key)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (singleton) DO UPDATE SET
			id = EXCLUDED.id, slug = EXCLUDED.slug, name = EXCLUDED.name, html_url = EXCLUDED.html_url,
			client_id = EXCLUDED.client_id, client_secret = EXCLUDED.client_secret,
			webhook_secret = EXCLUDED.webhook_secret, private_key = EXCLUDED.private_key, created_at = now()`,
		app.ID, clean(app.Slug), clean(app.Name), clean(app.URL), clean(app.ClientID), sealed[0], sealed[1], sealed[2])
	if err != nil {
		return fmt.Errorf("save github app: %w", classify(err))
	}
	return nil
}
