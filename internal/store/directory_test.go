package store_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/delivery"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

// registered is a GitHub App, or why it is not known.
type registered struct {
	app forge.App
	err error
}

func (r registered) App(context.Context) (forge.App, error) { return r.app, r.err }

var noApp = registered{err: fault.New(fault.NotFound, "There is no App.")}

// deaf returns a directory that hears of no change.
func (w *world) deaf() *store.Directory { return w.NewDirectory(noApp, zerolog.Nop()) }

// candidates tells briefly whom a lookup finds: each connection with the
// values of its keys.
func (w *world) candidates(d *store.Directory, by delivery.Lookup) []string {
	w.Helper()
	found, err := d.Candidates(w.Context(), by)
	if err != nil {
		w.Fatal(err)
	}
	brief := []string{}
	for _, c := range found {
		text := c.ConnectionID
		if c.Paused {
			text += " paused"
		}
		for _, key := range c.Keys {
			if !key.Secret.IsZero() {
				text += " " + key.Secret.Reveal()
			}
			if !key.SigningToken.IsZero() {
				text += " signs " + key.SigningToken.Reveal()
			}
		}
		brief = append(brief, text)
	}
	return brief
}

// seal encrypts a secret as a column holds it.
func (w *world) seal(s string) string {
	w.Helper()
	sealed, err := w.ring.Encrypt(secret.NewText(s))
	if err != nil {
		w.Fatal(err)
	}
	return sealed
}

func TestEveryLookupFindsTheConnection(t *testing.T) {
	t.Parallel()
	w := start(t)
	ann := w.connect(wanted(w.user("ann"), nil))
	w.connect(wanted(w.user("bob"), named(43, "acme/other")))
	w.exec(`UPDATE repository_connections SET webhook_id = 7 WHERE id = $1`, ann.ID)
	d := w.deaf()
	found := []string{ann.ID + " the secret of " + ann.UserID}
	tests := []struct {
		name string
		by   delivery.Lookup
		want []string
	}{
		{"by connection", delivery.Lookup{Provider: forge.GitHub, ConnectionID: ann.ID}, found},
		{"by hook", delivery.Lookup{Provider: forge.GitHub, HookID: 7}, found},
		{"by repository", delivery.Lookup{Provider: forge.GitHub, RepositoryID: 42}, found},
		{"by name", delivery.Lookup{Provider: forge.GitHub, FullName: "acme/shop"}, found},
		{"by name in other letters", delivery.Lookup{Provider: forge.GitHub, FullName: "ACME/Shop"}, found},
		{"by nobody's hook", delivery.Lookup{Provider: forge.GitHub, HookID: 8}, []string{}},
		{"by the same hook elsewhere", delivery.Lookup{Provider: forge.GitLab, HookID: 7}, []string{}},
		{"by the same connection elsewhere", delivery.Lookup{Provider: forge.GitLab, ConnectionID: ann.ID}, []string{}},
		{"by nothing", delivery.Lookup{Provider: forge.GitHub}, []string{}},
		{"by no text", delivery.Lookup{Provider: forge.GitHub, FullName: "\x00\xff"}, []string{}},
		{"by no id", delivery.Lookup{Provider: forge.GitHub, ConnectionID: "rpc_\x00\xff"}, []string{}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, w.candidates(d, tt.by)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestTheAppIsFoundWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	s, err := store.Open(store.Options{URL: nowhere, MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	by := delivery.Lookup{Provider: forge.GitHub, App: true}
	app := registered{app: forge.App{WebhookSecret: secret.NewText("the App's")}}
	got, err := s.NewDirectory(app, zerolog.Nop()).Candidates(t.Context(), by)
	if err != nil || len(got) != 1 || got[0].ConnectionID != "" || got[0].Keys[0].Secret.Reveal() != "the App's" {
		t.Errorf("Candidates = %+v, %v", got, err)
	}
	if got, err := s.NewDirectory(noApp, zerolog.Nop()).Candidates(t.Context(), by); err != nil || len(got) != 0 {
		t.Errorf("Candidates = %+v, %v without an App", got, err)
	}
}

func TestASecretOfALostKeyHidesNobody(t *testing.T) {
	t.Parallel()
	w := start(t)
	lost, err := secret.ParseKeyring(secret.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	ann, _, err := w.open(lost).Connect(t.Context(), wanted(w.user("ann"), nil))
	if err != nil {
		t.Fatal(err)
	}
	bob := w.connect(wanted(w.user("bob"), nil))
	want := []string{ann.ID, bob.ID + " the secret of " + bob.UserID}
	if diff := cmp.Diff(want, w.candidates(w.deaf(), delivery.Lookup{Provider: forge.GitHub, RepositoryID: 42})); diff != "" {
		t.Errorf("candidates (-want +got):\n%s", diff)
	}
}

func TestAFailedLookupIsNotRemembered(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.connect(wanted(w.user("ann"), nil))
	d := w.deaf()
	by := delivery.Lookup{Provider: forge.GitHub, RepositoryID: 42}
	w.exec(`ALTER TABLE repository_connections RENAME TO elsewhere`)
	if got, err := d.Candidates(t.Context(), by); err == nil {
		t.Fatalf("Candidates = %v without a table", got)
	}
	w.exec(`ALTER TABLE elsewhere RENAME TO repository_connections`)
	if got := w.candidates(d, by); len(got) != 1 {
		t.Errorf("candidates = %v", got)
	}
}
