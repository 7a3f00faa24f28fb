package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/maypok86/otter/v2"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/delivery"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
)

// Directory finds who may have sent a delivery, without a query in the usual
// case: a bounded cache of connections with their opened secrets, filled on a
// miss and kept right by PostgreSQL's notifications. Entries also expire, for
// the notification that got lost.
type Directory struct {
	store *Store
	app   forge.AppSource
	cache *otter.Cache[delivery.Lookup, []delivery.Candidate]
	log   zerolog.Logger
}

const (
	directorySize = 100_000
	directoryLife = 15 * time.Second
	// SecretSpread is how long it takes at the most until every receiver has a
	// secret that was stored.
	SecretSpread = directoryLife + 5*time.Second
)

// NewDirectory returns an empty directory; Listen keeps it right. app knows
// the GitHub App's webhook secret.
func (s *Store) NewDirectory(app forge.AppSource, log zerolog.Logger) *Directory {
	return &Directory{
		store: s,
		app:   app,
		log:   log,
		cache: otter.Must(&otter.Options[delivery.Lookup, []delivery.Candidate]{
			MaximumSize:      directorySize,
			ExpiryCalculator: otter.ExpiryWriting[delivery.Lookup, []delivery.Candidate](directoryLife),
		}),
	}
}

// Candidates returns the connections that a lookup names, with their live
// secrets. None is no error; Unavailable when the database does not answer.
func (d *Directory) Candidates(ctx context.Context, by delivery.Lookup) ([]delivery.Candidate, error) {
	if by.App {
		app, err := d.app.App(ctx)
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		return []delivery.Candidate{{Keys: []forge.Key{{Secret: app.WebhookSecret}}}}, err
	}
	by.FullName = strings.ToLower(by.FullName)
	return d.cache.Get(ctx, by, otter.LoaderFunc[delivery.Lookup, []delivery.Candidate](d.load))
}

func (d *Directory) load(ctx context.Context, by delivery.Lookup) ([]delivery.Candidate, error) {
	var rows []struct {
		ID       string `db:"id"`
		Enabled  bool   `db:"is_enabled"`
		Signs    bool   `db:"webhook_signs"`
		Active   string `db:"webhook_secret"`
		Next     string `db:"webhook_secret_next"`
		Previous string `db:"webhook_secret_previous"`
	}
	condition, value := lookupCondition(by)
	err := d.store.db.SelectContext(ctx, &rows, `
		SELECT id, is_enabled, webhook_signs, webhook_secret, webhook_secret_next,
			-- Its grace ends by itself; a worker only erases it afterwards.
			CASE WHEN webhook_previous_until <= now() THEN '' ELSE webhook_secret_previous END AS webhook_secret_previous
		FROM repository_connections WHERE provider = $1 AND `+condition+` ORDER BY id LIMIT 1000`, by.Provider, value)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", classify(err))
	}
	candidates := make([]delivery.Candidate, 0, len(rows))
	for _, r := range rows {
		c := delivery.Candidate{ConnectionID: r.ID, Paused: !r.Enabled}
		for _, kept := range []struct {
			slot   forge.Slot
			sealed string
		}{{forge.NextSlot, r.Next}, {forge.ActiveSlot, r.Active}, {forge.PreviousSlot, r.Previous}} {
			if kept.sealed == "" {
				continue
			}
			plain, err := d.store.ring.Decrypt(kept.sealed)
			if err != nil {
				// A secret under a lost key must not stop the others.
				d.log.Error().Err(err).Str("connection_id", r.ID).Msg("hook secret cannot be decrypted")
				continue
			}
			key := hook.Key(by.Provider, plain, r.Signs)
			key.Slot = kept.slot
			c.Keys = append(c.Keys, key)
		}
		candidates = append(candidates, c)
	}
	return candidates, nil
}

func lookupCondition(by delivery.Lookup) (string, any) {
	switch {
	case by.ConnectionID != "":
		return `id = $2`, clean(by.ConnectionID)
	case by.HookID != 0:
		return `webhook_id = $2`, by.HookID
	case by.RepositoryID != 0:
		return `repository_id = $2`, by.RepositoryID
	default:
		return `lower(repository_full_name) = $2`, clean(by.FullName)
	}
}

// announcement is what the trigger on repository_connections says.
type announcement struct {
	ID           string         `json:"id"`
	Provider     forge.Provider `json:"provider"`
	RepositoryID int64          `json:"repository_id"`
	HookID       int64          `json:"webhook_id"`
	FullName     string         `json:"full_name"`
}

// Listen drops cached connections when the database says that they changed,
// until ctx ends. After a lost connection it drops everything.
func (d *Directory) Listen(ctx context.Context) error {
	return d.store.listen(ctx, "connections", d.forget)
}

func (d *Directory) forget(n *pq.Notification) {
	var a announcement
	if n == nil || json.Unmarshal([]byte(n.Extra), &a) != nil {
		d.cache.InvalidateAll() // reconnected: anything may have changed
		return
	}
	d.cache.Invalidate(delivery.Lookup{Provider: a.Provider, ConnectionID: a.ID})
	d.cache.Invalidate(delivery.Lookup{Provider: a.Provider, HookID: a.HookID})
	d.cache.Invalidate(delivery.Lookup{Provider: a.Provider, RepositoryID: a.RepositoryID})
	d.cache.Invalidate(delivery.Lookup{Provider: a.Provider, FullName: a.FullName})
}
