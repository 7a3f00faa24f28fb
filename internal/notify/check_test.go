package notify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/notify"
	"github.com/devflowfix/devflowfix/internal/secret"
)

func TestAChannelIsChecked(t *testing.T) {
	hook := func(url string) notify.Channel {
		return notify.Channel{Kind: notify.WebhookKind, Target: notify.Target{URL: secret.NewText(url)}}
	}
	slack := func(token, conversation string) notify.Channel {
		return notify.Channel{Kind: notify.SlackKind, Target: notify.Target{Secret: secret.NewText(token), Conversation: conversation}}
	}
	globbed := hook("https://example.com")
	globbed.Filter.Repositories = []string{"acme/*", ""}
	digested := pager
	digested.Immediate = false
	tests := []struct {
		name    string
		channel notify.Channel
		private bool
		want    string // the field at fault
	}{
		{"a webhook", hook("https://example.com/hook?x=1"), false, ""},
		{"a webhook without TLS", hook("http://example.com"), false, "body.url"},
		{"a webhook without TLS at home", hook("http://ci.internal"), true, ""},
		{"a webhook with a password", hook("https://ann:secret@example.com"), false, "body.url"},
		{"a file", hook("file:///etc/passwd"), true, "body.url"},
		{"no address", hook(""), false, "body.url"},
		{"an endless address", hook("https://example.com/" + strings.Repeat("x", 2000)), false, "body.url"},
		{"a bot", slack("xoxb-1", "C024BE91L"), false, ""},
		{"a bot without a channel", slack("xoxb-1", ""), false, "body.slack_channel"},
		{"a channel's name", slack("xoxb-1", "#ops"), false, "body.slack_channel"},
		{"a person's token", slack("xoxp-1", "C024BE91L"), false, "body.token"},
		{"nothing of Slack", slack("", ""), false, "body.token"},
		{"PagerDuty", pager, false, ""},
		{"PagerDuty in digests", digested, false, "body.immediate"},
		{"a short key", notify.Channel{Kind: notify.PagerDutyKind, Immediate: true, Target: notify.Target{Secret: secret.NewText("k")}}, false, "body.routing_key"},
		{"an empty glob", globbed, false, "body.filter.repositories[1]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.channel.Check(tt.private)
			known, _ := errors.AsType[*fault.Error](err)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (known == nil || known.Kind != fault.Invalid || known.Field != tt.want):
				t.Errorf("error = %v, want %s named", err, tt.want)
			}
		})
	}
}

func TestQuietHoursAreChecked(t *testing.T) {
	for want, q := range map[string]notify.QuietHours{
		"":                {From: "22:00", To: "07:00", Zone: "Europe/Berlin"},
		"body.quiet_from": {From: "9:00", To: "10:00"},
		"body.quiet_to":   {From: "22:00"},
		"body.time_zone":  {Zone: "Berlin"},
	} {
		err := q.Check()
		if known, _ := errors.AsType[*fault.Error](err); want == "" && err != nil || want != "" && (known == nil || known.Field != want) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}
