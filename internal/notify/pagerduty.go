package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// PagerDuty keeps one alert for each episode of an incident, by the Events API
// v2 (developer.pagerduty.com, "Send an alert event").
type PagerDuty struct {
	Events string // https://events.pagerduty.com, without a slash at its end
	HTTP   *http.Client
}

const pagerDutyName = "PagerDuty"

// The actions of the API.
const (
	trigger     = "trigger"
	acknowledge = "acknowledge"
	resolve     = "resolve"
)

type pagerEvent struct {
	RoutingKey string        `json:"routing_key"`
	Action     string        `json:"event_action"`
	DedupKey   string        `json:"dedup_key"`
	Client     string        `json:"client,omitempty"`
	ClientURL  string        `json:"client_url,omitempty"`
	Payload    *pagerPayload `json:"payload,omitempty"` // for trigger alone
	Links      []pagerLink   `json:"links,omitempty"`
}

type pagerPayload struct {
	Summary   string            `json:"summary"` // up to 1024 characters
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Timestamp string            `json:"timestamp,omitempty"`
	Component string            `json:"component,omitempty"`
	Group     string            `json:"group,omitempty"`
	Class     string            `json:"class,omitempty"`
	Details   map[string]string `json:"custom_details,omitempty"`
}

type pagerLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

// pagerSeverity gives our severities PagerDuty's words.
var pagerSeverity = map[string]string{critical: "critical", "high": "error", "medium": "warning", "low": "info"}

// Send brings the incident's alert into the incident's state. What it is in
// already is not sent again.
func (p *PagerDuty) Send(ctx context.Context, c Channel, n Notice, prior Prior) (Prior, error) {
	if n.Kind == Test {
		return prior, p.try(ctx, c, n)
	}
	key := dedupKey(n.Incident)
	for _, step := range pagerSteps(prior, key, n.Incident.Status) {
		if err := p.enqueue(ctx, pagerEventOf(c, n, step.action, step.key)); err != nil {
			return prior, err
		}
		prior.DedupKey, prior.Action = step.key, step.action
	}
	return prior, nil
}

// try shows that the key is good, without an alert that stays.
func (p *PagerDuty) try(ctx context.Context, c Channel, n Notice) error {
	for _, action := range []string{trigger, resolve} {
		if err := p.enqueue(ctx, pagerEventOf(c, n, action, dedupKey(n.Incident))); err != nil {
			return err
		}
	}
	return nil
}

// dedupKey names the alert of an incident's episode.
func dedupKey(i Incident) string { return fmt.Sprintf("%s.%d", i.ID, max(i.Episode, 1)) }

type pagerStep struct{ action, key string }

// pagerSteps are what brings the alert from what was last done into a state.
func pagerSteps(prior Prior, key, status string) []pagerStep {
	var steps []pagerStep
	last := prior.Action
	if prior.DedupKey != key {
		if last != "" && last != resolve { // of an episode whose end was not told
			steps = append(steps, pagerStep{resolve, prior.DedupKey})
		}
		last = ""
	}
	want := trigger
	switch status {
	case statusResolved:
		want = resolve
	case "acknowledged", "fixing", "verifying", "snoozed":
		want = acknowledge
	}
	switch {
	case want == resolve && last == "", want == last:
		return steps // there is no alert, or it is so already
	case want == acknowledge && (last == "" || last == resolve):
		steps = append(steps, pagerStep{trigger, key})
	}
	return append(steps, pagerStep{want, key})
}

func pagerEventOf(c Channel, n Notice, action, key string) pagerEvent {
	i := n.Incident.cut(500)
	e := pagerEvent{RoutingKey: c.Target.Secret.Reveal(), Action: action, DedupKey: key}
	if action != trigger {
		return e
	}
	severity, known := pagerSeverity[i.Severity]
	if !known {
		severity = "error"
	}
	e.Client, e.ClientURL = "DevFlowFix", webLink(i.URL)
	e.Payload = &pagerPayload{
		Summary: cut(oneLine(i.Repository+": "+i.title()), 1024), Source: orElse(oneLine(i.Repository), "DevFlowFix"), Severity: severity,
		Component: oneLine(i.Workflow), Group: oneLine(i.Branch), Class: oneLine(i.Category), Details: pagerDetails(i),
	}
	if !i.OpenedAt.IsZero() {
		e.Payload.Timestamp = i.OpenedAt.UTC().Format(time.RFC3339)
	}
	if link := webLink(i.RunURL); link != "" {
		e.Links = []pagerLink{{link, "Failed run"}}
	}
	return e
}

func pagerDetails(i Incident) map[string]string {
	details := map[string]string{
		"job": i.Job, "headline": i.Headline, "owner": i.Owner, "owner_rule": i.OwnerRule, "commit": strings.TrimSpace(i.SHA + " " + i.CommitTitle),
		"author": i.Author, "lines": strings.Join(i.Lines, "\n"),
	}
	for name, value := range details {
		if value == "" {
			delete(details, name)
		}
	}
	return details
}

func (p *PagerDuty) enqueue(ctx context.Context, e pagerEvent) error {
	body, err := encode(e)
	if err != nil {
		return err
	}
	a, err := post(ctx, p.HTTP, pagerDutyName, p.Events+"/v2/enqueue", body, nil)
	switch {
	case err != nil || a.isOK():
		return err
	case a.status == http.StatusTooManyRequests:
		return &fault.Error{Kind: fault.Throttled, After: waitOf(a.header, time.Now()), Sentence: "PagerDuty asks to wait. It is tried again."}
	case a.status == http.StatusBadRequest:
		return fault.New(fault.Permanent, "PagerDuty refuses the event"+pagerReason(a.body)+". Check the routing key: it is the integration key of an Events API v2 integration, and the operator's PAGERDUTY_EVENTS_URL names the region of the account.")
	case a.status >= 500:
		return &fault.Error{Kind: fault.Transient, After: waitOf(a.header, time.Now()), Sentence: fmt.Sprintf("PagerDuty answered %d. It is tried again.", a.status)}
	}
	return fault.New(fault.Permanent, fmt.Sprintf("PagerDuty answered %d, which it does to no event. The operator should check PAGERDUTY_EVENTS_URL.", a.status))
}

// pagerReason is what PagerDuty says is wrong. It never repeats the key.
func pagerReason(body []byte) string {
	var said struct {
		Errors []string `json:"errors"`
	}
	if err := json.Unmarshal(body, &said); err != nil || len(said.Errors) == 0 {
		return ""
	}
	return " (" + cut(oneLine(strings.Join(said.Errors, "; ")), 200) + ")"
}
