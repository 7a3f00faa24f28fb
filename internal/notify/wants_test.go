package notify_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/notify"
)

func TestWhatAChannelWants(t *testing.T) {
	type givens struct {
		filter notify.Filter
		change func(*notify.Notice)
		told   bool
	}
	kind := func(k notify.Kind) func(*notify.Notice) { return func(n *notify.Notice) { n.Kind = k } }
	onChange := func(n *notify.Notice) { n.Incident.Scope = notify.ScopeChange }
	tests := []struct {
		name string
		givens
		want bool
	}{
		{"everything by default", givens{}, true},
		{"no comments by default", givens{change: kind(notify.Commented)}, false},
		{"comments for who wants them", givens{filter: notify.Filter{Kinds: []notify.Kind{notify.Commented}}, change: kind(notify.Commented)}, true},
		{"an exact repository", givens{filter: notify.Filter{Repositories: []string{"Acme/Shop"}}}, true},
		{"a part of a name", givens{filter: notify.Filter{Repositories: []string{"acme/sho"}}}, false},
		{"a star at the end", givens{filter: notify.Filter{Repositories: []string{"other/*", "acme/*"}}}, true},
		{"a star within", givens{filter: notify.Filter{Repositories: []string{"a*/s*p"}}}, true},
		{"another owner's", givens{filter: notify.Filter{Repositories: []string{"other/*"}}}, false},
		{"just severe enough", givens{filter: notify.Filter{MinSeverity: "high"}}, true},
		{"not severe enough", givens{filter: notify.Filter{MinSeverity: "critical"}}, false},
		{"a change's branch", givens{change: onChange}, false},
		{"a change's branch for who wants all", givens{filter: notify.Filter{Branches: notify.AllBranches}, change: onChange}, true},
		{"mine", givens{filter: notify.Filter{OnlyMine: true}}, true},
		{"mine among others", givens{filter: notify.Filter{OnlyMine: true}, change: func(n *notify.Notice) { n.Incident.Owner = "@acme/api @ANN" }}, true},
		{"somebody else's", givens{filter: notify.Filter{OnlyMine: true}, change: func(n *notify.Notice) { n.Incident.Owner = "bob" }}, false},
		{"mine no more, but told before", givens{filter: notify.Filter{OnlyMine: true}, change: func(n *notify.Notice) { n.Incident.Owner = "bob" }, told: true}, true},
		{"told before, of another kind", givens{change: kind(notify.Commented), told: true}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := notify.Channel{Status: notify.Active, Filter: tt.filter, Logins: []string{"Ann"}}
			if got, why := notify.Wants(c, failed(tt.change), tt.told); got != tt.want || why == "" {
				t.Errorf("Wants = %v (%s)", got, why)
			}
		})
	}
	if got, _ := notify.Wants(notify.Channel{Status: notify.Disabled}, failed(nil), true); got {
		t.Error("a disabled channel wants something")
	}
}

func TestWhichNoticesAreTold(t *testing.T) {
	opened, assigned, resolved := notify.Waiting{Entry: 1, Kind: notify.Opened}, notify.Waiting{Entry: 2, Kind: notify.Assigned}, notify.Waiting{Entry: 3, Kind: notify.Resolved}
	told := func(w notify.Waiting) notify.Waiting { w.Told = true; return w }
	tests := []struct {
		name    string
		kind    notify.ChannelKind
		waiting []notify.Waiting
		want    []int64
	}{
		{"Slack hears the last", notify.SlackKind, []notify.Waiting{opened, assigned, resolved}, []int64{3}},
		{"a webhook hears all in order", notify.WebhookKind, []notify.Waiting{resolved, opened, assigned}, []int64{1, 2, 3}},
		{"late after the end, Slack", notify.SlackKind, []notify.Waiting{opened, told(resolved)}, nil},
		{"late after the end, a webhook", notify.WebhookKind, []notify.Waiting{opened, told(resolved)}, nil},
		{"late after another owner, Slack", notify.SlackKind, []notify.Waiting{opened, told(assigned)}, nil},
		{"late after another owner, a webhook", notify.WebhookKind, []notify.Waiting{opened, told(assigned)}, []int64{1}},
		{"nothing new", notify.PagerDutyKind, []notify.Waiting{told(opened)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			send, superseded := notify.Plan(tt.kind, tt.waiting)
			var entries []int64
			for _, w := range send {
				entries = append(entries, w.Entry)
			}
			open := len(slices.DeleteFunc(slices.Clone(tt.waiting), func(w notify.Waiting) bool { return w.Told }))
			if !slices.Equal(entries, tt.want) || len(send)+len(superseded) != open {
				t.Errorf("sent %v, superseded %v", entries, superseded)
			}
		})
	}
}

func TestWhenAChannelIsTold(t *testing.T) {
	night := notify.QuietHours{From: "22:00", To: "07:00", Zone: "Europe/Berlin"}
	at := func(text string) time.Time {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	tests := []struct {
		name     string
		channel  notify.Channel
		severity string
		now      string
		wantWay  notify.Way
		want     string
	}{
		{"by day", notify.Channel{Quiet: night}, "high", "2026-11-25T10:00:00Z", notify.Alone, "2026-11-25T10:00:00Z"},
		{"by night", notify.Channel{Quiet: night}, "high", "2026-11-25T23:30:00Z", notify.Alone, "2026-11-26T06:00:00Z"},
		{"by night in summer", notify.Channel{Quiet: night}, "high", "2026-07-25T23:30:00Z", notify.Alone, "2026-07-26T05:00:00Z"},
		{"in the night when the clock goes back", notify.Channel{Quiet: night}, "high", "2026-10-24T21:00:00Z", notify.Alone, "2026-10-25T06:00:00Z"},
		{"critical by night", notify.Channel{Quiet: night}, "critical", "2026-11-25T23:30:00Z", notify.Alone, "2026-11-25T23:30:00Z"},
		{"immediate by night", notify.Channel{Quiet: night, Immediate: true, Digest: notify.Daily}, "high", "2026-11-25T23:30:00Z", notify.Alone, "2026-11-25T23:30:00Z"},
		{"a weekend", notify.Channel{Quiet: notify.QuietHours{Weekends: true}}, "low", "2026-11-28T12:00:30Z", notify.Alone, "2026-11-30T00:00:00Z"},
		{"hourly", notify.Channel{Digest: notify.Hourly}, "high", "2026-11-25T10:00:01Z", notify.InDigest, "2026-11-25T11:00:00Z"},
		{"daily, before nine", notify.Channel{Digest: notify.Daily, Quiet: notify.QuietHours{Zone: "Europe/Berlin"}}, "high", "2026-11-25T07:00:00Z", notify.InDigest, "2026-11-25T08:00:00Z"},
		{"daily, after nine", notify.Channel{Digest: notify.Daily}, "high", "2026-11-25T09:00:00Z", notify.InDigest, "2026-11-26T09:00:00Z"},
		{"a digest waits for the end of the quiet", notify.Channel{Digest: notify.Hourly, Quiet: night}, "high", "2026-11-25T22:10:00Z", notify.InDigest, "2026-11-26T06:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := failed(func(n *notify.Notice) { n.Incident.Severity = tt.severity })
			if way, due, why := notify.When(tt.channel, n, at(tt.now)); way != tt.wantWay || !due.Equal(at(tt.want)) || why == "" {
				t.Errorf("When = %s at %s (%s)", way, due.UTC(), why)
			}
		})
	}
}

func TestQuietHoursEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minute := rapid.IntRange(0, 24*60-1)
		clock := func(m int) string {
			return time.Date(2026, 1, 1, 0, m, 0, 0, time.UTC).Format("15:04")
		}
		q := notify.QuietHours{
			From: clock(minute.Draw(t, "from")), To: clock(minute.Draw(t, "to")), Weekends: rapid.Bool().Draw(t, "weekends"),
			Zone: rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca"}).Draw(t, "zone"),
		}
		if err := q.Check(); err != nil {
			t.Fatal(err)
		}
		at := now.Add(time.Duration(rapid.Int64Range(0, 365*24*3600).Draw(t, "at")) * time.Second)
		end := q.Until(at)
		if end.Before(at) || end.Sub(at) > 4*24*time.Hour {
			t.Fatalf("from %s until %s", at, end)
		}
		if again := q.Until(end); !again.Equal(end) {
			t.Fatalf("%s is quiet until %s", end, again)
		}
	})
}
