package notify

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// cut shortens a text to so many characters, the last of which tells it.
func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

// mostLines is how many lines of evidence are told.
const mostLines = 20

// cut shortens every text of an incident, and leaves out what is beyond
// mostLines.
func (i Incident) cut(limit int) Incident {
	for _, text := range []*string{
		&i.ID, &i.URL, &i.Repository, &i.Provider, &i.Workflow, &i.Job, &i.Branch, &i.Scope, &i.Status, &i.Severity,
		&i.Title, &i.Headline, &i.Category, &i.Owner, &i.OwnerRule, &i.Culprit, &i.CulpritState, &i.RunURL, &i.SHA,
		&i.CommitTitle, &i.Author, &i.ResolvedURL, &i.Reason,
	} {
		*text = cut(*text, limit)
	}
	lines := make([]string, 0, mostLines)
	for _, line := range i.Lines[:min(len(i.Lines), mostLines)] {
		lines = append(lines, cut(line, min(limit, 500)))
	}
	i.Lines = lines
	return i
}

// oneLine makes one line of a text: white space and what cannot be seen become
// spaces, so that nothing in it begins a line or turns the text around.
func oneLine(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// webLink returns an address that may be linked to: http or https, without
// what would end a link. It is empty for others.
func webLink(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", "(", "%28", ")", "%29", "\\", "%5C", "`", "%60", "*", "%2A", "[", "%5B", "]", "%5D",
		`"`, "%22", "'", "%27", " ", "%20").Replace(u.String())
}

// title is an incident's own, or what is known instead.
func (i Incident) title() string {
	if t := oneLine(i.Title); t != "" {
		return t
	}
	return oneLine(fmt.Sprintf("%s fails on %s", orElse(i.Workflow, "CI"), orElse(i.Branch, "a branch")))
}

func orElse(s, other string) string {
	if strings.TrimSpace(s) == "" {
		return other
	}
	return s
}

// sentence says what changed, without a full stop: who and what. The actor is
// text of others' making, the rest is ours.
func (n Notice) sentence() (actor, what string) {
	actor = oneLine(n.Actor)
	if actor == "" {
		actor = "devflowfix"
	}
	what, known := map[Kind]string{
		Opened: "opened the incident", Reopened: "opened the incident again", Acknowledged: "acknowledged it",
		Assigned: "gave it to an owner", Fixing: "linked a fix", Verifying: "waits for the run that shows whether the fix holds",
		FixFailed: "found it red after the fix",
		Resolved:  "resolved it", Snoozed: "snoozed it", Unsnoozed: "ended the snooze", Commented: "commented",
		Flaky: "found it flaky", Test: "sent a test",
	}[n.Kind]
	if !known {
		what = "changed it"
	}
	return actor, what
}

// Sample is what a channel is sent when its user tries it; id tells tries apart.
func Sample(c Channel, id, url string, now time.Time) Notice {
	n := Notice{ID: "test_" + id, Kind: Test, At: now, Actor: "devflowfix", Reason: "This is a test of the channel. Nothing has failed."}
	n.Incident = Incident{
		ID: "test_" + c.ID, Episode: 1, URL: url, Repository: "example/shop", Provider: "github", Workflow: "CI", Job: "test", Branch: "main",
		Scope: ScopeBranch, Status: "open", Severity: "low", Title: "Test of a notification channel", Headline: "Nothing has failed",
		Lines: []string{"This is where the lines around the error stand."}, OpenedAt: now, Reason: n.Reason, Occurrences: 1,
	}
	return n
}
