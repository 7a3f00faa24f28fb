package app

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// refusals gathers the connections whose deliveries no secret verifies, so that
// a request never waits for the database because of them, and tells the
// database once in a while.
type refusals struct {
	store *store.Store
	relay *queue.Relay

	mu sync.Mutex
	at map[string]time.Time // by connection
}

const (
	flushEvery = 2 * time.Second
	// mostRefusals bounds what is gathered between two flushes; a hook that is
	// left out is noted by a later delivery.
	mostRefusals = 1000
)

// note gathers a connection.
func (r *refusals) note(connectionID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at == nil {
		r.at = map[string]time.Time{}
	}
	if _, known := r.at[connectionID]; known || len(r.at) < mostRefusals {
		r.at[connectionID] = time.Now()
	}
}

// run tells the database until ctx ends.
func (r *refusals) run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.flush(ctx)
		}
	}
}

func (r *refusals) flush(ctx context.Context) {
	r.mu.Lock()
	refused := r.at
	r.at = nil
	r.mu.Unlock()
	if len(refused) == 0 {
		return
	}
	tasks, err := r.store.NoteRefused(ctx, refused, time.Now())
	if err != nil {
		if ctx.Err() == nil {
			zerolog.Ctx(ctx).Warn().Err(err).Int("connections", len(refused)).Msg("refused deliveries are noted later")
		}
		r.keep(refused)
		return
	}
	r.relay.Send(ctx, tasks)
}

// keep puts back what was not noted, for the next flush.
func (r *refusals) keep(refused map[string]time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(refused, r.at) // what came since is newer
	r.at = refused
}
