package delivery_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/delivery"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
)

func TestLookups(t *testing.T) {
	body := forge.Peek{RepositoryID: 42, FullName: "acme/shop"}
	tests := []struct {
		name       string
		connection string
		env        forge.Envelope
		body       forge.Peek
		want       []delivery.Lookup
	}{
		{"the App's webhook is the App's alone", "rpc_1", forge.Envelope{App: true, HookID: 7}, body,
			[]delivery.Lookup{{Provider: forge.GitHub, App: true}}},
		{"headers, then the body", "", forge.Envelope{HookID: 7}, body,
			[]delivery.Lookup{{Provider: forge.GitHub, HookID: 7}, {Provider: forge.GitHub, RepositoryID: 42}, {Provider: forge.GitHub, FullName: "acme/shop"}}},
		{"the URL comes first", "rpc_1", forge.Envelope{}, forge.Peek{},
			[]delivery.Lookup{{Provider: forge.GitHub, ConnectionID: "rpc_1"}}},
		{"nothing known", "", forge.Envelope{}, forge.Peek{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := slices.Collect(delivery.Lookups(forge.GitHub, tt.connection, tt.env, func() forge.Peek { return tt.body }))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Lookups (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheBodyIsNotReadWhenTheHookIsKnown(t *testing.T) {
	peeked := false
	for range delivery.Lookups(forge.GitHub, "", forge.Envelope{HookID: 7}, func() forge.Peek { peeked = true; return forge.Peek{} }) {
		break
	}
	if peeked {
		t.Error("the body was scanned although the first lookup was enough")
	}
}

func TestSenderTriesEveryLiveKey(t *testing.T) {
	key := func(s string) forge.Key {
		return forge.Key{Slot: forge.Slot("slot of " + s), Secret: secret.NewText(s)}
	}
	candidates := []delivery.Candidate{
		{ConnectionID: "rpc_1", Keys: []forge.Key{key("next"), key("active")}},
		{ConnectionID: "rpc_2", Keys: []forge.Key{key("theirs"), key("previous")}},
	}
	signedWith := func(s string) func(forge.Key) bool {
		return func(k forge.Key) bool { return k.Secret.Reveal() == s }
	}
	if got, slot := delivery.Sender(candidates, signedWith("previous")); got == nil || got.ConnectionID != "rpc_2" || slot != "slot of previous" {
		t.Errorf("Sender = %+v, %q", got, slot)
	}
	if got, slot := delivery.Sender(candidates, signedWith("forged")); got != nil || slot != "" {
		t.Errorf("a forged delivery has the sender %+v, %q", got, slot)
	}
}
