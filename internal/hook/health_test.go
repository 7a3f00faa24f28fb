package hook_test

import (
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/hook"
)

func TestExamine(t *testing.T) {
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	before := now.Add(-time.Minute)
	tests := []struct {
		name string
		hook.Signs
		want hook.Health
	}{
		{"all well", hook.Signs{Enabled: true, VerifiedAt: now}, hook.Healthy},
		{"by the App", hook.Signs{Enabled: true, Installed: true}, hook.Healthy},
		{"new", hook.Signs{Enabled: true}, hook.Unverified},
		{"paused, whatever else", hook.Signs{Trouble: "gone", RefusedAt: now}, hook.Paused},
		{"not there", hook.Signs{Enabled: true, Trouble: "gone", VerifiedAt: now}, hook.Failing},
		{"refused since", hook.Signs{Enabled: true, VerifiedAt: before, RefusedAt: now}, hook.Failing},
		{"refused before", hook.Signs{Enabled: true, VerifiedAt: now, RefusedAt: before}, hook.Healthy},
		{"runs without deliveries", hook.Signs{Enabled: true, VerifiedAt: before, MissedAt: now}, hook.Silent},
		{"a run was missed before", hook.Signs{Enabled: true, VerifiedAt: now, MissedAt: before}, hook.Healthy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, why := hook.Examine(tt.Signs); got != tt.want || why == "" {
				t.Errorf("Examine = %s %q, want %s", got, why, tt.want)
			}
		})
	}
}
