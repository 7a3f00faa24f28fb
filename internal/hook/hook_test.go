package hook_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/secret"
)

const ours = "https://dff.example/api/v2/webhooks/github"

func healthy(change func(*forge.Hook)) forge.Hook {
	h := forge.Hook{ID: 7, URL: ours, Events: []string{"push", "workflow_run"}, ContentType: "json", Active: true, VerifyTLS: true}
	if change != nil {
		change(&h)
	}
	return h
}

func TestNext(t *testing.T) {
	want := hook.Desired{ConnectionID: "rpc_1", URL: ours, FormerURLs: []string{"https://old.example/hook"}, Events: []string{"workflow_run", "push"}}
	stored := func(h forge.Hook, others ...forge.Hook) hook.Observed { return hook.Observed{All: append(others, h)} }
	tests := []struct {
		name     string
		stored   int64
		seen     hook.Observed
		wantKind hook.StepKind
		wantID   int64
	}{
		{"nothing there", 0, hook.Observed{}, hook.Create, 0},
		{"only others' hooks", 0, hook.Observed{All: []forge.Hook{{ID: 1, URL: "https://else.example"}}}, hook.Create, 0},
		{"it was deleted", 7, hook.Observed{All: []forge.Hook{{ID: 1, URL: "https://else.example"}}}, hook.Create, 0},
		{"a crash left our hook behind", 0, stored(healthy(nil), forge.Hook{ID: 1, URL: "x"}), hook.Adopt, 7},
		{"ours from before we moved", 0, stored(healthy(func(h *forge.Hook) { h.URL = "https://old.example/hook" })), hook.Adopt, 7},
		{"another connection has our URL", 0, hook.Observed{All: []forge.Hook{healthy(nil)}, Holders: map[int64]string{7: "rpc_2"}}, hook.MoveAway, 0},
		{"our own hook is ours", 0, hook.Observed{All: []forge.Hook{healthy(nil)}, Holders: map[int64]string{7: "rpc_1"}}, hook.Adopt, 7},
		{"as wanted, in another order", 7, stored(healthy(nil)), hook.Keep, 7},
		{"other URL", 7, stored(healthy(func(h *forge.Hook) { h.URL = "x" })), hook.Update, 7},
		{"other events", 7, stored(healthy(func(h *forge.Hook) { h.Events = []string{"push"} })), hook.Update, 7},
		{"form content", 7, stored(healthy(func(h *forge.Hook) { h.ContentType = "form" })), hook.Update, 7},
		{"switched off by somebody", 7, stored(healthy(func(h *forge.Hook) { h.Active = false })), hook.Update, 7},
		{"switched off for a while", 7, stored(healthy(func(h *forge.Hook) { h.Active, h.Disabled = false, forge.DisabledForNow })), hook.Wake, 7},
		{"switched off for good", 7, stored(healthy(func(h *forge.Hook) { h.Active, h.Disabled = false, forge.DisabledForGood })), hook.Replace, 7},
		{"TLS not verified", 7, stored(healthy(func(h *forge.Hook) { h.VerifyTLS = false })), hook.Update, 7},
		{"a second one of ours", 7, stored(healthy(nil), healthy(func(h *forge.Hook) { h.ID = 8 })), hook.Prune, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := want
			want.HookID = tt.stored
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

func TestARefusedHookGetsItsSecretAgain(t *testing.T) {
	want := hook.Desired{ConnectionID: "rpc_1", HookID: 7, URL: ours, Events: []string{"workflow_run", "push"}, Refused: true}
	asleep := func(h *forge.Hook) { h.Active, h.Disabled = false, forge.DisabledForNow }
	for name, h := range map[string]forge.Hook{"as wanted": healthy(nil), "switched off because of it": healthy(asleep)} {
		got := hook.Next(want, hook.Observed{All: []forge.Hook{h}})
		if got != (hook.Step{Kind: hook.Update, HookID: 7, Reason: "its deliveries are not signed with its secret"}) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestStepsEndWithOneHook takes the steps at a forge in any state, where some
// of them are done although their answer is lost.
func TestStepsEndWithOneHook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := hook.Desired{ConnectionID: "rpc_1", URL: ours, FormerURLs: []string{"https://old.example/hook"}, Events: []string{"push"}}
		at := &world{holders: map[int64]string{}}
		for range rapid.IntRange(0, 6).Draw(t, "hooks") {
			at.next++
			h := forge.Hook{
				ID: at.next, URL: rapid.SampledFrom([]string{ours, "https://old.example/hook", "https://else.example"}).Draw(t, "url"),
				Events: []string{"push"}, ContentType: rapid.SampledFrom([]string{"json", "form"}).Draw(t, "type"),
				Active: rapid.Bool().Draw(t, "active"), VerifyTLS: true,
				Disabled: rapid.SampledFrom([]forge.Disabled{"", forge.DisabledForNow, forge.DisabledForGood}).Draw(t, "disabled"),
			}
			at.hooks = append(at.hooks, h)
			switch rapid.IntRange(0, 3).Draw(t, "whose") {
			case 0:
				at.holders[h.ID] = "rpc_2"
			case 1:
				want.HookID = h.ID
			}
		}
		foreign := len(at.holders)
		for range 40 {
			step := hook.Next(want, hook.Observed{All: at.hooks, Holders: at.holders})
			if step.Kind == hook.Keep {
				break
			}
			at.take(&want, step, rapid.Bool().Draw(t, "the answer is lost"))
		}
		mine := 0
		for _, h := range at.hooks {
			if at.holders[h.ID] == "" && (h.URL == want.URL || h.URL == want.FormerURLs[0]) {
				mine++
			}
		}
		if step := hook.Next(want, hook.Observed{All: at.hooks, Holders: at.holders}); step.Kind != hook.Keep || mine != 1 {
			t.Fatalf("after all steps: %+v, %d hooks of ours in %+v", step, mine, at.hooks)
		}
		if left := len(at.holders); left != foreign {
			t.Fatalf("%d hooks of another connection are left of %d", left, foreign)
		}
	})
}

// world is a forge as far as steps change it.
type world struct {
	next    int64
	hooks   []forge.Hook
	holders map[int64]string
}

func (w *world) take(want *hook.Desired, s hook.Step, lost bool) {
	made := forge.Hook{URL: want.URL, Events: want.Events, ContentType: "json", Active: true, VerifyTLS: true}
	switch s.Kind {
	case hook.Create, hook.Replace:
		w.next++
		made.ID = w.next
		w.hooks = append(w.hooks, made)
		if lost {
			return
		}
		if s.Kind == hook.Replace {
			w.drop(s.HookID)
		}
		want.HookID = made.ID
	case hook.Adopt, hook.Update, hook.Wake:
		for i, h := range w.hooks {
			if h.ID == s.HookID {
				made.ID = h.ID
				if s.Kind != hook.Wake {
					made.Disabled = h.Disabled // changing it does not wake it
				}
				w.hooks[i] = made
			}
		}
		if !lost {
			want.HookID = s.HookID
		}
	case hook.Prune:
		w.drop(s.HookID)
	case hook.MoveAway:
		want.URL += "?connection=rpc_1"
	}
}

func (w *world) drop(id int64) {
	w.hooks = slices.DeleteFunc(w.hooks, func(h forge.Hook) bool { return h.ID == id })
	delete(w.holders, id)
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
