// Package notify tells people and programs what changed with an incident: on
// Slack, by outgoing webhooks, and through PagerDuty. One file holds one
// receiver. What a user wants to hear and when, and which of several waiting
// changes are told, are pure functions; so are the texts of comments on
// changes and of check runs.
//
// Everything in a notice but its ids may have been written by a stranger: a
// branch, a commit's title, a line of a log. Every receiver makes it inert in
// its own notation, so that it mentions nobody and links nowhere.
package notify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/devflowfix/devflowfix/internal/secret"
)

// Kind says what changed with an incident.
type Kind string

// The kinds of changes.
const (
	Opened       Kind = "opened"
	Reopened     Kind = "reopened"
	Acknowledged Kind = "acknowledged"
	Assigned     Kind = "assigned"
	Fixing       Kind = "fixing"
	Verifying    Kind = "verifying"
	FixFailed    Kind = "fix_failed" // a fix is merged, and it is red all the same
	Resolved     Kind = "resolved"
	Snoozed      Kind = "snoozed"
	Unsnoozed    Kind = "unsnoozed"
	Commented    Kind = "comment"
	Flaky        Kind = "flaky"
	// Test is no change: a user tries a channel.
	Test Kind = "test"
)

// Kinds are the changes that a channel may be limited to.
var Kinds = []Kind{Opened, Reopened, Acknowledged, Assigned, Fixing, Verifying, FixFailed, Resolved, Snoozed, Unsnoozed, Commented, Flaky}

// changesStatus are the kinds that move an incident to another state.
var changesStatus = []Kind{Opened, Reopened, Acknowledged, Fixing, Verifying, FixFailed, Resolved, Snoozed, Unsnoozed}

// Notice is a change of an incident, ready to be told.
type Notice struct {
	// ID is unique for each change, <incident id>.<entry id>. Receivers that
	// know such a thing take it as the idempotency key.
	ID       string
	Kind     Kind
	At       time.Time
	Incident Incident // as it is now, which may be later than the change
	Actor    string   // who changed it: a user's name, or devflowfix
	Reason   string
}

// NoticeID names the change that an entry of an incident records.
func NoticeID(incidentID string, entryID int64) string {
	return fmt.Sprintf("%s.%d", incidentID, entryID)
}

// Incident is what receivers are told of an incident. Its members in JSON are
// what webhooks send.
type Incident struct {
	ID           string `json:"id"`
	Episode      int    `json:"episode"` // counts reopenings, from 1
	URL          string `json:"url"`     // of its page here
	Repository   string `json:"repository"`
	Provider     string `json:"provider"` // github or gitlab
	Workflow     string `json:"workflow"`
	Job          string `json:"job"`
	Branch       string `json:"branch"`
	Scope        string `json:"scope"`         // branch (default and protected ones) or change
	ChangeNumber int64  `json:"change_number"` // of the pull or merge request, for scope change
	Status       string `json:"status"`
	Severity     string `json:"severity"` // critical, high, medium or low
	Title        string `json:"title"`
	Headline     string `json:"headline"` // the one line that says most of why
	Category     string `json:"category"`
	Owner        string `json:"owner"`
	OwnerRule    string `json:"owner_rule"` // why it is theirs
	Culprit      string `json:"culprit"`
	CulpritState string `json:"culprit_state"` // range, suspect, probable or confirmed

	Lines       []string   `json:"lines"` // evidence, with secrets masked
	RunURL      string     `json:"run_url"`
	SHA         string     `json:"sha"`
	CommitTitle string     `json:"commit_title"`
	Author      string     `json:"author"`
	OpenedAt    time.Time  `json:"opened_at"`
	ResolvedAt  *time.Time `json:"resolved_at"`
	ResolvedURL string     `json:"resolved_url"`
	Reason      string     `json:"reason"` // why it is in its state
	Occurrences int        `json:"occurrences"`
	IsFlaky     bool       `json:"is_flaky"`   // it fails and passes on the same commits
	Resolution  string     `json:"resolution"` // green, flaky, superseded, …; empty while it is not resolved

	// BrokenBase is the incident of the branch that the change goes to, whose
	// failure it is; nil when it is the change's own. Nobody is told of one that
	// is not, so only comments and checks show it.
	BrokenBase *BrokenBase `json:"-"`
}

// BrokenBase is an incident of a branch that changes go to, as it is shown on
// those of them that fail of the same.
type BrokenBase struct {
	URL      string // of its page here
	Branch   string
	IsMended bool // it has ended: the change needs what has mended it
}

// The scopes and states that are looked at here.
const (
	ScopeBranch = "branch"
	ScopeChange = "change"

	statusSuspected = "suspected"
	statusResolved  = "resolved"
	critical        = "critical"
)

// IsResolved reports whether the incident has ended.
func (i Incident) IsResolved() bool { return i.Status == statusResolved }

// ChannelKind is a way to tell somebody.
type ChannelKind string

// The kinds of channels.
const (
	SlackKind     ChannelKind = "slack"
	WebhookKind   ChannelKind = "webhook"
	PagerDutyKind ChannelKind = "pagerduty"
)

// Status says how a channel is.
type Status string

// The states of a channel.
const (
	Active   Status = "active"
	Failing  Status = "failing"  // the last notice did not get through
	Disabled Status = "disabled" // by its user, or by a receiver that answered 410 Gone
)

// Channel is a user's way to be told.
type Channel struct {
	ID     string // ntc_…
	UserID string
	Kind   ChannelKind
	Name   string
	Target Target
	Filter Filter
	// Immediate channels are told at once, whatever the quiet hours and the
	// digest of their user are.
	Immediate bool
	Quiet     QuietHours
	Digest    Digest
	// Logins are the user's own accounts and name, for Filter.OnlyMine.
	Logins []string

	Status       Status
	Error        string // a sentence that says why it is not active, and the cure
	FailingSince *time.Time
	LastSentAt   *time.Time
	CreatedAt    time.Time
}

// Target is where a channel leads. Which fields are set depends on its kind.
type Target struct {
	// URL is where a webhook sends; for Slack, an incoming webhook in the place
	// of a bot's token. It may hold a secret.
	URL secret.Text
	// Conversation is Slack's id of a channel, for a bot.
	Conversation string
	// Secret is Slack's bot token, PagerDuty's routing key, or what signs a
	// webhook (whsec_…).
	Secret secret.Text
	// Previous signs beside Secret until PreviousUntil, while a webhook's
	// receiver changes over.
	Previous      secret.Text
	PreviousUntil *time.Time
}

// Prior is what is kept between the notices of one incident to one channel.
// The zero value means that it was told nothing yet.
type Prior struct {
	// Slack's message, and the target that it was sent to.
	Conversation string `json:"conversation,omitempty"`
	Timestamp    string `json:"ts,omitempty"`
	SentTo       string `json:"sent_to,omitempty"`
	// PagerDuty's key of the alert, and what was last done with it.
	DedupKey string `json:"dedup_key,omitempty"`
	Action   string `json:"action,omitempty"`
}

// Sender tells a channel what changed. Send may be called again with the same
// notice after an error; what it returns is kept also beside one. Errors have
// a sentence for the channel's user: Transient and Throttled ones pass, Gone
// has the channel disabled, others need its user.
type Sender interface {
	Send(ctx context.Context, c Channel, n Notice, prior Prior) (Prior, error)
}

// Summarizer is a Sender that can also tell several changes in one message.
type Summarizer interface {
	Summarize(ctx context.Context, c Channel, s Summary) error
}

// Summary is what collected until a digest was due, one notice for each
// incident, in the order of the changes.
type Summary struct {
	ID      string // unique for each summary of a channel
	At      time.Time
	Notices []Notice
}

// Senders are the receivers by kind.
type Senders map[ChannelKind]Sender

// CodeGone marks the error of a receiver that wants no more.
const CodeGone = "gone"

// supersedes reports whether an earlier change is not worth telling any more
// once a later one was told.
func supersedes(later Kind) bool { return slices.Contains(changesStatus, later) }
