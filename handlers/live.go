package handlers

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/store"
)

// Live tells open pages what has changed, by server-sent events: each names
// topics, which are ids of connections and kinds of change, or all. A page then
// asks for what it shows of them; an event itself tells nothing else.
type Live struct {
	mu      sync.Mutex
	streams map[*stream]struct{}
	ended   chan struct{}
	end     sync.Once
}

// NewLive returns one without pages.
func NewLive() *Live {
	return &Live{streams: map[*stream]struct{}{}, ended: make(chan struct{})}
}

const (
	// everythingChanged is the topic of all parts of all pages.
	everythingChanged = "all"
	// liveGather is how long a page's changes are gathered before it is told.
	liveGather = 150 * time.Millisecond
	// liveBeat keeps proxies from ending a stream that is silent.
	liveBeat = 20 * time.Second
	// liveLife is when a stream ends; the browser begins another, for which the
	// session is looked at again.
	liveLife = 15 * time.Minute
	// liveMost bounds a user's streams, and what one gathers.
	liveMost = 20
)

// stream is an open page of a user.
type stream struct {
	userID  string
	wake    chan struct{} // has room for one
	mu      sync.Mutex
	changes map[store.Change]struct{}
}

// Announce tells the pages of a change; the zero Change concerns them all.
func (l *Live) Announce(c store.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.streams {
		if c.UserID == "" || c.UserID == s.userID {
			s.add(c)
		}
	}
}

// End ends all streams, so that the server can stop.
func (l *Live) End() { l.end.Do(func() { close(l.ended) }) }

func (s *stream) add(c store.Change) {
	s.mu.Lock()
	if len(s.changes) >= liveMost {
		clear(s.changes)
		c = store.Change{}
	}
	s.changes[c] = struct{}{}
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *stream) take() map[store.Change]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.changes
	s.changes = map[store.Change]struct{}{}
	return taken
}

func (l *Live) open(userID string) (*stream, error) {
	s := &stream{userID: userID, wake: make(chan struct{}, 1), changes: map[store.Change]struct{}{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for other := range l.streams {
		if other.userID == userID {
			n++
		}
	}
	if n >= liveMost {
		return nil, fault.New(fault.Limited, "You have many pages open. Close some, and load this one again.")
	}
	l.streams[s] = struct{}{}
	return s, nil
}

func (l *Live) close(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
}

// follow is the stream of one page.
func (d Deps) follow(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	s, err := d.Live.open(viewer.UserID)
	if err != nil {
		return err
	}
	defer d.Live.close(s)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep it back
	flush := http.NewResponseController(w).Flush
	say := func(line string) error {
		if _, err := fmt.Fprint(w, line+"\n\n"); err != nil {
			return err
		}
		return flush()
	}
	if say(": following") != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), liveLife)
	defer cancel()
	beat := time.NewTicker(liveBeat)
	defer beat.Stop()
	for {
		line := ": still here"
		select {
		case <-ctx.Done():
			return nil
		case <-d.Live.ended:
			return nil
		case <-beat.C:
		case <-s.wake:
			if line, err = d.tell(ctx, s); err != nil || line == "" {
				continue // the browser asks for nothing then; the next change tells
			}
		}
		if say(line) != nil {
			return nil // the page is gone
		}
	}
}

// tell gathers what has changed for a page and says which of it its viewer
// sees; empty when it is nothing.
func (d Deps) tell(ctx context.Context, s *stream) (string, error) {
	gather := time.NewTimer(liveGather)
	defer gather.Stop()
	select {
	case <-ctx.Done():
		return "", nil
	case <-gather.C:
	}
	topics, asked := map[string]struct{}{}, map[string]store.ChangeKind{}
	for c := range s.take() {
		switch {
		case c.Topic == "":
			return "data: " + everythingChanged, nil
		case c.UserID == s.userID:
			topics[c.Topic], topics[string(c.Kind)] = struct{}{}, struct{}{}
		default:
			asked[c.Topic] = c.Kind
		}
	}
	if len(asked) > 0 {
		ids := make([]string, 0, len(asked))
		for id := range asked {
			ids = append(ids, id)
		}
		seen, err := d.Store.SeenOf(ctx, s.userID, ids)
		if err != nil {
			return "", err
		}
		for _, id := range seen {
			topics[id], topics[string(asked[id])] = struct{}{}, struct{}{}
		}
	}
	if len(topics) == 0 {
		return "", nil
	}
	var named []string
	for t := range topics {
		named = append(named, t)
	}
	return "data: " + strings.Join(named, " "), nil
}
