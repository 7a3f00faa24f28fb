package handlers

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/store"
)

func opened(t *testing.T, l *Live, userID string) *stream {
	t.Helper()
	s, err := l.open(userID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAChangeConcernsThePagesOfItsUser(t *testing.T) {
	l := NewLive()
	ann, bob := opened(t, l, "ann"), opened(t, l, "bob")
	own := store.Change{Kind: store.ConnectionChanged, Topic: "rpc_1", UserID: "ann"}
	shared := store.Change{Kind: store.IncidentChanged, Topic: "rpc_2"}
	l.Announce(own)
	l.Announce(shared)
	l.Announce(shared)
	if got := ann.take(); len(got) != 2 {
		t.Errorf("ann is told of %v", got)
	}
	if got := slices.Collect(maps.Keys(bob.take())); len(got) != 1 || got[0] != shared {
		t.Errorf("bob is told of %v", got)
	}
	if got := ann.take(); len(got) != 0 {
		t.Errorf("ann is told twice: %v", got)
	}
	l.close(bob)
	l.Announce(shared)
	if got := bob.take(); len(got) != 0 {
		t.Errorf("a page that is closed is told of %v", got)
	}
}

func TestAPageThatFallsBehindAsksForEverything(t *testing.T) {
	l := NewLive()
	s := opened(t, l, "ann")
	for i := range liveMost + 1 {
		l.Announce(store.Change{Kind: store.ConnectionChanged, Topic: strconv.Itoa(i), UserID: "ann"})
	}
	if got := s.take(); len(got) != 1 || !maps.Equal(got, map[store.Change]struct{}{{}: {}}) {
		t.Errorf("it is told of %v", got)
	}
}

func TestAUserHasNotManyStreams(t *testing.T) {
	l := NewLive()
	var last *stream
	for range liveMost {
		last = opened(t, l, "ann")
	}
	if _, err := l.open("ann"); !fault.Is(err, fault.Limited) {
		t.Errorf("one more: %v", err)
	}
	opened(t, l, "bob")
	l.close(last)
	opened(t, l, "ann")
}
