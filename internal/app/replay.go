package app

import (
	"context"
	"time"

	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/store"
)

// Replayed says what a replay was about.
type Replayed struct {
	Deliveries  int
	Connections int
	TooLarge    int // deliveries whose payload was not kept
}

const replayBatch = 200

// Replay applies the deliveries of a range again or, without apply, only counts
// them. progress is told how many there were so far.
func (a *App) Replay(ctx context.Context, r store.ReplayRange, apply bool, progress func(int)) (Replayed, error) {
	var done Replayed
	connections := map[string]bool{}
	var last store.Delivery
	for {
		batch, err := a.Store.DeliveriesBetween(ctx, r, last, replayBatch)
		if err != nil || len(batch) == 0 {
			done.Connections = len(connections)
			return done, err
		}
		for _, d := range batch {
			if len(d.Payload) == 0 {
				done.TooLarge++
				continue
			}
			if apply {
				task := queue.NewReplay(queue.Delivery{Scope: d.Scope, ID: d.ID, Provider: d.Provider, Event: d.Event, ReceivedAt: time.Now()}, d.Payload)
				if _, err := a.queue.Enqueue(ctx, task); err != nil {
					return done, err
				}
			}
			connections[d.Scope] = true
			done.Deliveries++
		}
		last = batch[len(batch)-1]
		progress(done.Deliveries + done.TooLarge)
	}
}
