package notify_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/secret"
)

var pager = notify.Channel{Kind: notify.PagerDutyKind, Immediate: true, Target: notify.Target{Secret: secret.NewText(strings.Repeat("k", 32))}}

func TestPagerDutyFollowsTheIncident(t *testing.T) {
	r := startReceiver(t, reply{status: 202, body: `{"status":"success"}`})
	sender := senders(r)[notify.PagerDutyKind]
	var prior notify.Prior
	episode2 := func(n *notify.Notice) { n.Kind, n.Incident.Episode = notify.Reopened, 2 }
	for _, step := range []struct {
		name   string
		change func(*notify.Notice)
		want   []string
	}{
		{"resolved before anybody was told", status("resolved", notify.Resolved), nil},
		{"opened", nil, []string{"trigger inc_1.1"}},
		{"another owner", status("open", notify.Assigned), nil},
		{"acknowledged", status("acknowledged", notify.Acknowledged), []string{"acknowledge inc_1.1"}},
		{"fixing", status("fixing", notify.Fixing), nil},
		{"resolved", status("resolved", notify.Resolved), []string{"resolve inc_1.1"}},
		{"opened again", episode2, []string{"trigger inc_1.2"}},
		{"the third time, the second's end was lost", func(n *notify.Notice) { n.Incident.Episode, n.Incident.Status = 3, "fixing" },
			[]string{"resolve inc_1.2", "trigger inc_1.3", "acknowledge inc_1.3"}},
	} {
		before := len(r.got)
		var err error
		if prior, err = sender.Send(t.Context(), pager, failed(step.change), prior); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		var sent []string
		for _, g := range r.got[before:] {
			sent = append(sent, g.body["event_action"].(string)+" "+g.body["dedup_key"].(string))
		}
		if !slices.Equal(sent, step.want) {
			t.Errorf("%s: sent %q, want %q", step.name, sent, step.want)
		}
	}
	first := r.got[0]
	payload := first.body["payload"].(map[string]any)
	if first.path != "/v2/enqueue" || first.body["routing_key"] != pager.Target.Secret.Reveal() || payload["severity"] != "error" ||
		payload["summary"] != "acme/shop: TestPay fails" || payload["source"] != "acme/shop" || payload["timestamp"] != "2026-11-25T10:00:00Z" {
		t.Errorf("trigger = %s", first.raw)
	}
}

func TestPagerDutysSeverities(t *testing.T) {
	for ours, theirs := range map[string]string{"critical": "critical", "high": "error", "medium": "warning", "low": "info", "": "error"} {
		r := startReceiver(t, reply{status: 202})
		_, err := senders(r)[notify.PagerDutyKind].Send(t.Context(), pager, failed(func(n *notify.Notice) { n.Incident.Severity = ours }), notify.Prior{})
		if got := r.got[0].body["payload"].(map[string]any)["severity"]; err != nil || got != theirs {
			t.Errorf("%q is %v, %v", ours, got, err)
		}
	}
}

func TestATestOfPagerDutyLeavesNoAlert(t *testing.T) {
	r := startReceiver(t, reply{status: 202})
	prior, err := senders(r)[notify.PagerDutyKind].Send(t.Context(), pager, notify.Sample(pager, "1", "https://dff.example", now), notify.Prior{})
	if err != nil || prior != (notify.Prior{}) || len(r.got) != 2 || r.got[1].body["event_action"] != "resolve" || r.got[0].body["dedup_key"] != r.got[1].body["dedup_key"] {
		t.Errorf("%d requests, %+v, %v", len(r.got), prior, err)
	}
}

func TestWhatPagerDutysAnswersMean(t *testing.T) {
	for _, tt := range []struct {
		answer reply
		want   fault.Kind
	}{
		{reply{status: 400, body: `{"status":"invalid event","errors":["Invalid routing key"]}`}, fault.Permanent},
		{reply{status: 429}, fault.Throttled}, {reply{status: 500}, fault.Transient}, {reply{status: 403}, fault.Permanent},
	} {
		r := startReceiver(t, tt.answer)
		_, err := senders(r)[notify.PagerDutyKind].Send(t.Context(), pager, failed(nil), notify.Prior{})
		if !fault.Is(err, tt.want) || strings.Contains(err.Error(), pager.Target.Secret.Reveal()) {
			t.Errorf("%d: %v", tt.answer.status, err)
		}
	}
}
