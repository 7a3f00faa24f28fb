package harness

import (
	"net/http"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/app"
	"github.com/devflowfix/devflowfix/internal/config"
)

// Beside builds another process of this installation, with settings of its
// own, which does nothing by itself.
func (w *World) Beside(settings ...string) *app.App {
	w.tb.Helper()
	other := *w
	other.Environ = append([]string{}, w.Environ...)
	other.set(settings)
	cfg, err := config.Load("", other.Environ)
	if err != nil {
		w.tb.Fatal(err)
	}
	a, err := app.New(cfg, zerolog.New(w.log))
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(func() {
		if err := a.Close(); err != nil {
			w.tb.Error(err)
		}
	})
	return a
}

// Pair is an access token with the refresh token for the next one.
type Pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// Pair gets the tokens with which a program acts in the person's name.
func (b *Browser) Pair() Pair {
	b.w.tb.Helper()
	var p Pair
	if status := b.Call(http.MethodPost, "/api/v2/auth/token", nil, &p); status != http.StatusCreated {
		b.w.tb.Fatalf("tokens: %d", status)
	}
	b.w.Secret(p.Access)
	b.w.Secret(p.Refresh)
	return p
}

// Program is a program that acts in the person's name.
func (b *Browser) Program() *User {
	b.w.tb.Helper()
	u := b.w.With(b.Pair().Access)
	var who struct {
		ID string `json:"user_id"`
	}
	u.Call(http.MethodGet, "/api/v2/auth/me", nil, &who)
	u.ID = who.ID
	return u
}

// With is whoever a token belongs to.
func (w *World) With(token string) *User { return &User{w: w, Token: token} }
