package notify_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/notify"
)

// entries are new lines of history, by their kinds; their ids count from 1.
func entries(kinds ...string) []notify.Entry {
	var all []notify.Entry
	for n, kind := range kinds {
		all = append(all, notify.Entry{ID: int64(n + 1), Kind: kind})
	}
	return all
}

func TestWhichChangesAreTold(t *testing.T) {
	told := func(status string, before notify.ToldStatus) notify.Telling {
		return notify.Telling{Status: status, Told: before, Owner: "ann", ToldOwner: "ann"}
	}
	snoozed := func(t notify.Telling) notify.Telling { t.Snoozed = true; return t }
	other := func(t notify.Telling) notify.Telling { t.ToldOwner = "bob"; return t }
	tests := []struct {
		name    string
		telling notify.Telling
		new     []string
		want    []string // entry:kind
		after   notify.ToldStatus
	}{
		{"opened", told("open", ""), []string{"opened", "identified"}, []string{"1:opened"}, notify.ToldOpen},
		{"only suspected", told("suspected", ""), []string{"opened", "identified", "comment"}, nil, ""},
		{"confirmed", told("open", ""), []string{"confirmed"}, []string{"1:opened"}, notify.ToldOpen},
		{"opened and confirmed", told("open", ""), []string{"opened", "confirmed"}, []string{"2:opened"}, notify.ToldOpen},
		{"split off", told("open", ""), []string{"split"}, []string{"1:opened"}, notify.ToldOpen},
		{"confirmed though it was told", told("open", notify.ToldOpen), []string{"confirmed"}, nil, notify.ToldOpen},
		{"open with an owner found", other(told("open", "")), []string{"opened", "owner"}, []string{"1:opened"}, notify.ToldOpen},
		{"an owner like the one told", told("open", notify.ToldOpen), []string{"owner"}, nil, notify.ToldOpen},
		{"another owner", other(told("open", notify.ToldOpen)), []string{"owner", "assigned"}, []string{"2:assigned"}, notify.ToldOpen},
		{"resolved", told("resolved", notify.ToldOpen), []string{"resolved"}, []string{"1:resolved"}, notify.ToldResolved},
		{"resolved before anybody heard of it", told("resolved", ""), []string{"opened", "resolved"}, nil, ""},
		{"resolved twice", told("resolved", notify.ToldResolved), []string{"reopened", "resolved"}, nil, notify.ToldResolved},
		{"resolved otherwise than thought", told("resolved", notify.ToldResolved), []string{"reassessed"}, nil, notify.ToldResolved},
		{"resolved, and before that acknowledged", told("resolved", notify.ToldOpen), []string{"acknowledged", "resolved"}, []string{"2:resolved"}, notify.ToldResolved},
		{"merged into another", told("resolved", notify.ToldOpen), []string{"merged"}, []string{"1:resolved"}, notify.ToldResolved},
		{"reopened", told("open", notify.ToldResolved), []string{"reopened"}, []string{"1:reopened"}, notify.ToldOpen},
		{"resolved and open again before anybody heard", told("open", notify.ToldOpen), []string{"resolved", "reopened"}, nil, notify.ToldOpen},
		{"its way to a fix", told("verifying", notify.ToldOpen), []string{"acknowledged", "fix_linked", "fix_merged"},
			[]string{"1:acknowledged", "2:fixing", "3:verifying"}, notify.ToldOpen},
		{"a fix that was none", told("open", notify.ToldOpen), []string{"fix_failed"}, []string{"1:fix_failed"}, notify.ToldOpen},
		{"opened before this was told, then acknowledged", told("acknowledged", ""), []string{"acknowledged"}, []string{"1:acknowledged"}, notify.ToldOpen},
		{"flaky", told("open", notify.ToldOpen), []string{"known_flaky"}, []string{"1:flaky"}, notify.ToldOpen},
		{"snoozed", snoozed(told("open", notify.ToldOpen)), []string{"snoozed", "comment", "known_flaky"}, []string{"1:snoozed"}, notify.ToldOpen},
		{"open again while it is snoozed", snoozed(told("open", notify.ToldResolved)), []string{"reopened"}, nil, notify.ToldResolved},
		{"the end of such a snooze", told("open", notify.ToldResolved), []string{"unsnoozed"}, []string{"1:reopened"}, notify.ToldOpen},
		{"the end of another", told("open", notify.ToldOpen), []string{"unsnoozed"}, []string{"1:unsnoozed"}, notify.ToldOpen},
		{"resolved while it is snoozed", snoozed(told("resolved", notify.ToldOpen)), []string{"resolved"}, []string{"1:resolved"}, notify.ToldResolved},
		{"a comment after the end", told("resolved", notify.ToldResolved), []string{"comment"}, []string{"1:comment"}, notify.ToldResolved},
		{"nothing that is told", told("open", notify.ToldOpen), []string{"identified", "severity", "doubted", "of a later release"}, nil, notify.ToldOpen},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, after := tt.telling.Choose(entries(tt.new...))
			var shown []string
			for _, a := range got {
				shown = append(shown, fmt.Sprintf("%d:%s", a.Entry, a.Kind))
			}
			if diff := cmp.Diff(tt.want, shown); diff != "" || after.Told != tt.after {
				t.Errorf("afterwards %q, want %q; told (-want +got):\n%s", after.Told, tt.after, diff)
			}
		})
	}
}

// TestPeopleAlwaysKnowHowItIs walks through any history, told in any portions:
// red and green are told in turns, and in the end people take the incident for
// what it is.
func TestPeopleAlwaysKnowHowItIs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		state, id := notify.Telling{Status: "suspected", Owner: "ann"}, int64(0)
		var waiting []notify.Entry
		var turns []notify.Kind
		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			step := rapid.SampledFrom([]struct{ kind, status string }{
				{"opened", "open"}, {"reopened", "open"}, {"resolved", "resolved"}, {"acknowledged", "acknowledged"}, {"comment", ""}, {"known_flaky", ""},
			}).Draw(t, "change")
			if step.kind == "acknowledged" && state.Status != "open" || step.status == state.Status {
				continue
			}
			id++
			waiting = append(waiting, notify.Entry{ID: id, Kind: step.kind})
			if step.status != "" {
				state.Status = step.status
			}
			if rapid.Bool().Draw(t, "told now") {
				var told []notify.Announcement
				told, state = state.Choose(waiting)
				waiting = nil
				for _, a := range told {
					if a.Kind == notify.Opened || a.Kind == notify.Reopened || a.Kind == notify.Resolved {
						turns = append(turns, a.Kind)
					}
				}
			}
		}
		_, last := state.Choose(waiting)
		if isOpen := last.Status == "open" || last.Status == "acknowledged"; isOpen != (last.Told == notify.ToldOpen) {
			t.Errorf("it is %s, and people take it for %q", last.Status, last.Told)
		}
		for n, kind := range turns {
			if (kind == notify.Resolved) != (n%2 == 1) || kind == notify.Opened && slices.Contains(turns[:n], notify.Opened) {
				t.Errorf("told %v", turns)
			}
		}
	})
}
