package hook_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/secret"
)

const ours = "https://dff.example/api/v2/webhooks/github"

func healthy(change func(*forge.Hook)) *forge.Hook {
	h := &forge.Hook{ID: 7, URL: ours, Events: []string{"push", "workflow_run"}, ContentType: "json", Active: true, VerifyTLS: true}
	if change != nil {
		change(h)
	}
	return h
}

func TestNext(t *testing.T) {
	want := hook.Desired{ConnectionID: "rpc_1", URL: ours, Events: []string{"workflow_run", "push"}}
	tests := []struct {
		name     string
		seen     hook.Observed
		wantKind hook.StepKind
		wantID   int64
	}{
		{"nothing there", hook.Observed{}, hook.Create, 0},
		{"only others' hooks", hook.Observed{All: []forge.Hook{{ID: 1, URL: "https://else.example"}}}, hook.Create, 0},
		{"a crash left our hook behind", hook.Observed{All: []forge.Hook{{ID: 1, URL: "x"}, *healthy(nil)}}, hook.Adopt, 7},
		{"another connection has our URL", hook.Observed{All: []forge.Hook{*healthy(nil)}, Holders: map[int64]string{7: "rpc_2"}}, hook.MoveAway, 0},
		{"our own hook is ours", hook.Observed{All: []forge.Hook{*healthy(nil)}, Holders: map[int64]string{7: "rpc_1"}}, hook.Adopt, 7},
		{"as wanted, in another order", hook.Observed{Current: healthy(nil)}, hook.Keep, 7},
		{"other URL", hook.Observed{Current: healthy(func(h *forge.Hook) { h.URL = "x" })}, hook.Update, 7},
		{"other events", hook.Observed{Current: healthy(func(h *forge.Hook) { h.Events = []string{"push"} })}, hook.Update, 7},
		{"form content", hook.Observed{Current: healthy(func(h *forge.Hook) { h.ContentType = "form" })}, hook.Update, 7},
		{"switched off", hook.Observed{Current: healthy(func(h *forge.Hook) { h.Active = false })}, hook.Update, 7},
		{"TLS not verified", hook.Observed{Current: healthy(func(h *forge.Hook) { h.VerifyTLS = false })}, hook.Update, 7},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := hook.Next(want, tt.seen)
			if got.Reason == "" {
				t.Error("no reason given")
			}
			got.Reason = ""
			if diff := cmp.Diff(hook.Step{Kind: tt.wantKind, HookID: tt.wantID}, got); diff != "" {
				t.Errorf("Next (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGitLabsClearTokenDoesNotGiveAwayTheSigningToken(t *testing.T) {
	s := secret.NewText("one stored secret")
	spec := hook.Spec(forge.GitLab, hook.Desired{}, s)
	before, after := hook.Key(forge.GitLab, s, false), hook.Key(forge.GitLab, s, true)
	if spec.Secret != before.Secret || spec.SigningToken != after.SigningToken {
		t.Error("what the forge is given is not what deliveries are verified with")
	}
	if !after.Secret.IsZero() {
		t.Error("a hook that signs is still verified by its clear token")
	}
	if spec.Secret == s || spec.SigningToken == s || spec.Secret == spec.SigningToken {
		t.Error("the tokens are not independent")
	}
	if got := hook.Key(forge.GitHub, s, false); got.Secret != s {
		t.Error("GitHub's HMAC key is the stored secret itself")
	}
	if got := hook.Key(forge.GitLab, secret.Text{}, true); got != (forge.Key{}) {
		t.Error("an empty secret makes a key")
	}
}
