package auth_test

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
)

func TestAScopeHoldsThoseBeforeIt(t *testing.T) {
	t.Parallel()
	user, operator := auth.Identity{}, auth.Identity{Admin: true}
	tests := []struct {
		who    auth.Identity
		scopes []auth.Scope
		may    []auth.Scope
	}{
		{user, nil, nil},
		{user, []auth.Scope{"everything"}, nil},
		{user, []auth.Scope{auth.Read}, []auth.Scope{auth.Read}},
		{user, []auth.Scope{auth.Write}, []auth.Scope{auth.Read, auth.Write}},
		{user, []auth.Scope{auth.Admin}, []auth.Scope{auth.Read, auth.Write}},
		{operator, []auth.Scope{auth.Write, auth.Read}, []auth.Scope{auth.Read, auth.Write}},
		{operator, auth.Everything(), []auth.Scope{auth.Read, auth.Write, auth.Admin}},
	}
	for _, tt := range tests {
		tt.who.Scopes = tt.scopes
		want := map[auth.Scope]bool{}
		for _, s := range tt.may {
			want[s] = true
		}
		for _, s := range []auth.Scope{auth.Read, auth.Write, auth.Admin} {
			if err := tt.who.Require(s); (err == nil) != want[s] || err != nil && !fault.Is(err, fault.Forbidden) {
				t.Errorf("%+v for %s: %v", tt.who, s, err)
			}
		}
	}
}

func TestAnAddressMayTryThirtyTimes(t *testing.T) {
	t.Parallel()
	limits := auth.NewLimits(rate.Every(time.Hour), 30)
	for n := range 30 {
		if err := limits.Count("203.0.113.1"); err != nil {
			t.Fatalf("try %d: %v", n+1, err)
		}
	}
	for n := range 1000 { // other addresses do not free it
		if err := limits.Count(fmt.Sprint("198.51.100.", n)); err != nil {
			t.Fatalf("address %d: %v", n, err)
		}
	}
	for _, try := range []func(string) error{limits.Check, limits.Count} {
		err := try("203.0.113.1")
		if _, after := fault.Decide(err); !fault.Is(err, fault.Limited) || after != time.Hour {
			t.Errorf("try 31: %v, again after %s", err, after)
		}
	}
}

func TestAJWTLivesFromItsMakingToItsEndUnderEveryKeyOfTheRing(t *testing.T) {
	t.Parallel()
	older, newer := secret.NewKey(), secret.NewKey()
	now := time.Now()
	tokens := func(keys string) *auth.Tokens {
		ring, err := secret.ParseKeyring(keys)
		if err != nil {
			t.Fatal(err)
		}
		return auth.NewTokens(ring, func() time.Time { return now })
	}
	made, err := tokens(older).Issue(auth.Identity{UserID: "usr_1", Name: "ann", Admin: true}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := tokens(newer + "," + older).Verify(made); err != nil || id.UserID != "usr_1" || id.Via != auth.ViaJWT {
		t.Errorf("under the second key: %+v, %v", id, err)
	}
	if _, err := tokens(newer).Verify(made); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("without its key: %v", err)
	}
	for _, moved := range []time.Duration{-time.Minute, time.Hour + time.Second} {
		now = now.Add(moved)
		if _, err := tokens(older).Verify(made); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s later: %v", moved, err)
		}
		now = now.Add(-moved)
	}
}

func TestAnOpaqueTokenIsLongAndItsHashTellsNothing(t *testing.T) {
	t.Parallel()
	one, two := auth.NewOpaque(auth.APITokenPrefix), auth.NewOpaque(auth.APITokenPrefix)
	if text := one.Token.Reveal(); len(text) != len("dff_")+52 || text == two.Token.Reveal() || text[len(text)-4:] != one.Hint {
		t.Errorf("the token has %d characters, hint %q", len(text), one.Hint)
	}
	if string(one.Hash) != string(auth.HashOpaque(one.Token.Reveal())) || len(one.Hash) != 32 {
		t.Error("the hash is not that of the token")
	}
}
