package notify

import (
	"slices"
	"strings"
)

// Filter narrows what a channel is told; zero fields do not.
type Filter struct {
	Repositories []string `json:"repositories,omitempty"` // globs, where * stands for any text
	MinSeverity  string   `json:"min_severity,omitempty"` // critical, high, medium or low
	Branches     Branches `json:"branches,omitempty"`
	OnlyMine     bool     `json:"only_mine,omitempty"` // incidents whose owner is the user
	Kinds        []Kind   `json:"kinds,omitempty"`     // empty: changes of state or owner
}

// Branches says of which branches a channel is told.
type Branches string

// The choices of branches. Without one it is DefaultBranches.
const (
	DefaultBranches Branches = "default" // default and protected ones
	AllBranches     Branches = "all"     // and those of changes
)

// severities, from the least.
var severities = []string{"low", "medium", "high", critical}

// usual are the kinds that are told unless a channel chooses: changes of state
// or owner.
var usual = []Kind{Opened, Reopened, Acknowledged, Assigned, Fixing, Verifying, FixFailed, Resolved}

// Wants decides whether a channel is told of a notice, and says why. A channel
// that was told of an incident before hears how it goes on also when the
// incident fits its filter no more: its message would say what is not true.
func Wants(c Channel, n Notice, toldBefore bool) (bool, string) {
	if c.Status == Disabled {
		return false, "the channel is disabled"
	}
	kinds := c.Filter.Kinds
	if len(kinds) == 0 {
		kinds = usual
	}
	if !slices.Contains(kinds, n.Kind) {
		return false, "the channel is not told of this kind of change"
	}
	if toldBefore {
		return true, "the channel was told of this incident before"
	}
	i := n.Incident
	switch {
	case len(c.Filter.Repositories) > 0 && !slices.ContainsFunc(c.Filter.Repositories, func(g string) bool { return matches(g, i.Repository) }):
		return false, "the repository is none of the channel's"
	case c.Filter.Branches != AllBranches && i.Scope != ScopeBranch:
		return false, "the channel is told of default and protected branches alone"
	case slices.Index(severities, i.Severity) < slices.Index(severities, c.Filter.MinSeverity):
		return false, "the incident is less severe than the channel's least"
	case c.Filter.OnlyMine && !isOwned(i.Owner, c.Logins):
		return false, "the incident is somebody else's"
	}
	return true, "it fits the channel's filter"
}

// isOwned reports whether one of the owners, which are separated by spaces, has
// one of the logins.
func isOwned(owners string, logins []string) bool {
	return slices.ContainsFunc(strings.Fields(owners), func(owner string) bool {
		owner = strings.TrimPrefix(owner, "@")
		return slices.ContainsFunc(logins, func(l string) bool { return strings.EqualFold(l, owner) })
	})
}

// matches reports whether a glob fits a repository's name. The star stands for
// any text, slashes too: groups of GitLab are nested.
func matches(glob, name string) bool {
	parts := strings.Split(strings.ToLower(glob), "*")
	name = strings.ToLower(name)
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok || len(parts) == 1 {
		return ok && rest == ""
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[last])
}

// Waiting is a notice on its way to a channel, or one that went.
type Waiting struct {
	Entry int64 // the incident's entries are in the order of their ids
	Kind  Kind
	Told  bool
}

// Plan decides which of an incident's waiting notices are sent, in order, and
// which are superseded. Slack and PagerDuty show how an incident is, so the
// last one says it all; a program at a webhook is told every change, in order.
// One that comes late, after a change of the state was told, is not: an
// incident must not seem open again.
func Plan(kind ChannelKind, all []Waiting) (send, superseded []Waiting) {
	var told int64
	for _, w := range all {
		if w.Told && (kind != WebhookKind || supersedes(w.Kind)) {
			told = max(told, w.Entry)
		}
	}
	for _, w := range all {
		switch {
		case w.Told:
		case w.Entry < told:
			superseded = append(superseded, w)
		default:
			send = append(send, w)
		}
	}
	slices.SortFunc(send, func(a, b Waiting) int { return int(a.Entry - b.Entry) })
	if last := len(send) - 1; kind != WebhookKind && last > 0 {
		superseded = append(superseded, send[:last]...)
		send = send[last:]
	}
	return send, superseded
}
