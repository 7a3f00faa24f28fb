package hook_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/hook"
)

var policy = hook.RotationPolicy{MaxAge: 90 * 24 * time.Hour, Spread: 20 * time.Second, Patience: 5 * time.Minute}

func TestNextRotation(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	fresh := ago(time.Hour)
	tests := []struct {
		name string
		hook.Secrets
		want hook.RotationStep
		look time.Time
	}{
		{"nothing to do", hook.Secrets{ActiveSince: fresh}, hook.Rest, time.Time{}},
		{"too old", hook.Secrets{ActiveSince: ago(91 * 24 * time.Hour)}, hook.StoreNext, time.Time{}},
		{"just stored", hook.Secrets{ActiveSince: fresh, NextAt: ago(5 * time.Second)}, hook.AwaitSpread, now.Add(15 * time.Second)},
		{"known to all", hook.Secrets{ActiveSince: fresh, NextAt: ago(20 * time.Second)}, hook.SendNext, time.Time{}},
		{"sent", hook.Secrets{ActiveSince: fresh, NextAt: ago(time.Minute), SentAt: ago(30 * time.Second)}, hook.AwaitProof, now.Add(4*time.Minute + 30*time.Second)},
		{"sent and no proof came", hook.Secrets{ActiveSince: fresh, NextAt: ago(time.Hour), SentAt: ago(5 * time.Minute)}, hook.SendNext, time.Time{}},
		{"in grace", hook.Secrets{ActiveSince: fresh, PreviousUntil: now.Add(time.Hour)}, hook.Rest, now.Add(time.Hour)},
		{"grace is over", hook.Secrets{ActiveSince: fresh, PreviousUntil: now}, hook.DropPrevious, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if step, look := hook.NextRotation(tt.Secrets, policy, now); step != tt.want || !look.Equal(tt.look) {
				t.Errorf("%s, look at %s; want %s, %s", step, look, tt.want, tt.look)
			}
		})
	}
}

// TestARotationEnds takes the steps as workers would, with forges that lose
// requests and answers: as long as a delivery comes now and then, the next
// secret becomes active, and the forge never signs with one that is not kept.
func TestARotationEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
		secrets := hook.Secrets{ActiveSince: now.Add(-policy.MaxAge)}
		forge, active, next := 1, 1, 0
		known := map[int]bool{1: true}
		for round := 0; round < 60; round++ {
			step, look := hook.NextRotation(secrets, policy, now)
			switch step {
			case hook.StoreNext:
				next, secrets.NextAt, secrets.SentAt = active+1, now, time.Time{}
				known[next] = true
			case hook.SendNext:
				secrets.SentAt = now
				if rapid.Bool().Draw(t, "the forge got it") || round > 40 {
					forge = next
				}
			case hook.DropPrevious:
				delete(known, active-1)
				secrets.PreviousUntil = time.Time{}
			}
			if !known[forge] {
				t.Fatalf("the forge signs with secret %d, which nobody keeps", forge)
			}
			if (rapid.Bool().Draw(t, "a delivery came") || round > 50) && next != 0 && forge == next {
				active, next = next, 0
				secrets = hook.Secrets{ActiveSince: now, PreviousUntil: now.Add(24 * time.Hour)}
			}
			if now = now.Add(time.Minute); look.After(now) {
				now = look
			}
		}
		if active < 2 {
			t.Errorf("the rotation has not ended: %+v", secrets)
		}
	})
}
