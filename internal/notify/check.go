package notify

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
)

func invalid(field, sentence string) error {
	return &fault.Error{Kind: fault.Invalid, Field: field, Sentence: sentence}
}

// Check reports what is wrong with quiet hours, as Invalid.
func (q QuietHours) Check() error {
	for _, t := range []struct{ field, text string }{{"body.quiet_from", q.From}, {"body.quiet_to", q.To}} {
		if parsed, err := time.Parse(clock, t.text); t.text != "" && (err != nil || parsed.Format(clock) != t.text) {
			return invalid(t.field, "A time of the day is written 22:00.")
		}
	}
	if (q.From == "") != (q.To == "") {
		return invalid("body.quiet_to", "Quiet hours have a beginning and an end. Send both, or leave both empty.")
	}
	// Local is the server's zone, which is nothing that a user knows.
	if _, err := time.LoadLocation(q.Zone); err != nil || q.Zone == "Local" {
		return invalid("body.time_zone", "The time zone is none of the IANA database. Send one like Europe/Berlin.")
	}
	return nil
}

// Check reports what is wrong with a channel that a user makes, as Invalid:
// fields are named as the API names them. Private says that the operator
// allows private networks, where https is not always to be had.
func (c Channel) Check(private bool) error {
	if err := c.Filter.check(); err != nil {
		return err
	}
	if c.Kind == PagerDutyKind && !c.Immediate {
		return invalid("body.immediate", "PagerDuty is told at once; quiet hours are set in PagerDuty itself. Leave immediate out.")
	}
	switch c.Kind {
	case SlackKind:
		return c.Target.checkSlack(private)
	case WebhookKind:
		return checkURL(c.Target.URL, private)
	case PagerDutyKind:
		if !routingKey.MatchString(c.Target.Secret.Reveal()) {
			return invalid("body.routing_key", "A routing key has 32 letters and digits. It is the integration key of an Events API v2 integration of a PagerDuty service.")
		}
		return nil
	}
	return invalid("body.kind", "A channel is slack, webhook or pagerduty.")
}

// The forms of what the receivers give out: docs.slack.dev, "Tokens" and
// "Conversations API"; developer.pagerduty.com, "Send an alert event".
var (
	routingKey   = regexp.MustCompile(`^[A-Za-z0-9]{32}$`)
	conversation = regexp.MustCompile(`^[CGDU][A-Z0-9]{6,20}$`)
)

func (t Target) checkSlack(private bool) error {
	if t.Secret.IsZero() {
		if t.URL.IsZero() {
			return invalid("body.token", "Send the bot token of a Slack app (xoxb-…) with the id of a channel, or the url of an incoming webhook.")
		}
		return checkURL(t.URL, private)
	}
	if !strings.HasPrefix(t.Secret.Reveal(), "xoxb-") {
		return invalid("body.token", "A bot token begins with xoxb-. It is on the page OAuth & Permissions of the Slack app.")
	}
	if !conversation.MatchString(t.Conversation) {
		return invalid("body.slack_channel", "Slack's id of a channel is like C024BE91L. It is at the end of the channel's details in Slack.")
	}
	return nil
}

const longestURL = 2000

func checkURL(address secret.Text, private bool) error {
	u, err := url.Parse(address.Reveal())
	switch {
	case err != nil || u.Host == "" || u.Fragment != "" || len(address.Reveal()) > longestURL:
		return invalid("body.url", "Send the whole address of the receiver, https://example.com/hooks/ci.")
	case u.User != nil:
		return invalid("body.url", "The address must hold no password. The signature shows the receiver who sends.")
	case u.Scheme != "https" && (u.Scheme != "http" || !private):
		return invalid("body.url", "The address must begin with https://.")
	}
	return nil
}

func (f Filter) check() error {
	for i, glob := range f.Repositories {
		if glob == "" || strings.ContainsAny(glob, " \t\n\x00") {
			return invalid(fmt.Sprintf("body.filter.repositories[%d]", i), "A repository is named like owner/repo; a star stands for any text, owner/*.")
		}
	}
	return nil
}
