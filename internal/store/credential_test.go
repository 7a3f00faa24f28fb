package store_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/store"
)

// login stores the first refresh token of a login.
func (w *world) login(userID, token string) {
	w.Helper()
	if err := w.NewRefreshToken(w.Context(), userID, auth.HashOpaque(token), now.Add(time.Hour)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) spend(token, next string, at time.Time) (string, error) {
	return w.RotateRefreshToken(w.Context(), auth.HashOpaque(token), auth.HashOpaque(next), at)
}

func TestARefreshTokenIsGoodOnceAndForItsTime(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	w.login(ann, "first")
	if who, err := w.spend("first", "second", now); err != nil || who != ann {
		t.Fatalf("first: %q, %v", who, err)
	}
	if _, err := w.spend("second", "third", now.Add(2*time.Hour)); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("an expired one: %v", err)
	}
	if who, err := w.spend("nobody's", "x", now); who != "" || !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a foreign one: %q, %v", who, err)
	}
	if _, err := w.spend("second", "third", now); err != nil {
		t.Fatal(err)
	}
	w.login(ann, "elsewhere")
	if who, err := w.spend("first", "stolen", now); who != ann || !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("a spent one: %q, %v", who, err)
	}
	for _, token := range []string{"first", "second", "third", "stolen"} {
		if who, err := w.spend(token, "x", now); who != "" || !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s lives: %v", token, err)
		}
	}
	if _, err := w.spend("elsewhere", "x", now); err != nil {
		t.Errorf("another login ended with it: %v", err)
	}
}

func TestOfTwoWhoSpendARefreshTokenAtOnceOneWinsAndTheLoginEnds(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.login(w.user("ann"), "first")
	var mu sync.Mutex
	won := 0
	inParallel(8, func(i int) {
		_, err := w.spend("first", fmt.Sprint("next ", i), now)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			won++
		} else if !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("spend: %v", err)
		}
	})
	if won != 1 {
		t.Errorf("%d have won", won)
	}
	if n := w.count(`SELECT count(*) FROM refresh_tokens`); n != 0 {
		t.Errorf("%d tokens of the login live", n)
	}
}

// TestNoTokenSlipsAwayFromALoginThatEnds lets a stolen token come again, and a
// logout, at the moment at which the family gets a new token.
func TestNoTokenSlipsAwayFromALoginThatEnds(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.user("ann")
	for round := range 40 {
		name := func(s string) string { return fmt.Sprint(s, round) }
		w.login(ann, name("first"))
		if _, err := w.spend(name("first"), name("second"), now); err != nil {
			t.Fatal(err)
		}
		inParallel(2, func(i int) {
			var err error
			switch {
			case i == 0:
				_, err = w.spend(name("second"), name("third"), now)
			case round%2 == 0:
				_, err = w.spend(name("first"), name("stolen"), now)
			default:
				err = w.EndRefreshTokens(t.Context(), auth.HashOpaque(name("second")))
			}
			if err != nil && !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("round %d: %v", round, err)
			}
		})
		if n := w.count(`SELECT count(*) FROM refresh_tokens`); n != 0 {
			t.Fatalf("round %d: %d tokens slipped away", round, n)
		}
	}
}

// inParallel runs do n times at once and waits for all.
func inParallel(n int, do func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

func TestAFirstLoginInManyTabsIsOneUser(t *testing.T) {
	t.Parallel()
	w := start(t)
	inParallel(8, func(int) {
		if _, err := w.LogIn(t.Context(), store.Identity{Provider: store.OIDC, Subject: "1", Login: "mira"}, ""); err != nil {
			t.Errorf("the same login: %v", err)
		}
	})
	inParallel(4, func(i int) {
		if _, err := w.LogIn(t.Context(), store.Identity{Provider: store.OIDC, Subject: fmt.Sprint(10 + i), Login: "tomas"}, ""); err != nil {
			t.Errorf("another of the same name: %v", err)
		}
	})
	if n := w.count(`SELECT count(*) FROM users`); n != 5 {
		t.Errorf("%d users, want mira and four tomas", n)
	}
}
