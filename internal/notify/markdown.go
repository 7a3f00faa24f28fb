package notify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// CommentBody is the one comment on a pull or merge request, in Markdown. It
// shows how the incidents of the change are, the open ones first, so it is
// edited in place when one of them changes. When all have ended it is down to a
// line for each.
func CommentBody(all []Incident) string {
	open, ended := apart(all)
	var b strings.Builder
	b.WriteString(commentHead(open, ended) + "\n")
	for _, i := range open {
		part := incidentMarkdown(i)
		if b.Len()+len(part) > commentLimit {
			b.WriteString("\nMore incidents than a comment holds are left out.\n")
			break
		}
		b.WriteString("\n" + part)
	}
	if len(open) > 0 {
		return b.String()
	}
	b.WriteString("\n")
	for _, i := range ended {
		i = i.cut(500)
		fmt.Fprintf(&b, "- %s", mdLink(i.URL, i.title()))
		if i.BrokenBase != nil {
			b.WriteString(" – " + notYours(*i.BrokenBase))
		} else if i.Reason != "" {
			b.WriteString(" – " + forge.Inert(i.Reason))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// apart sorts incidents by whether they have ended.
func apart(all []Incident) (open, ended []Incident) {
	for _, i := range all {
		if i.IsResolved() {
			ended = append(ended, i)
		} else {
			open = append(open, i)
		}
	}
	return open, ended
}

// unknownEnds are the reasons of an end that do not say that it is mended.
var unknownEnds = []string{"manual", "duplicate", "stale", "obsolete"}

func commentHead(open, ended []Incident) string {
	isUnknown := func(i Incident) bool { return slices.Contains(unknownEnds, i.Resolution) }
	isOwn := func(i Incident) bool { return i.BrokenBase == nil }
	switch {
	case len(open) > 0 && !slices.ContainsFunc(open, isOwn):
		return "**Not yours**: what fails here fails without this change too"
	case len(open) == 1:
		return "**What fails here**"
	case len(open) > 1:
		return fmt.Sprintf("**%d things fail here**", len(open))
	case slices.ContainsFunc(ended, isUnknown):
		return "**Nothing that failed here is open any more**"
	default:
		return "**All green**: what failed here does so no more"
	}
}

// commentLimit keeps below the 65,536 characters that GitHub allows, in bytes.
const commentLimit = 60_000

// The conclusions of a check that are used.
const (
	checkSuccess = "success"
	checkNeutral = "neutral"
	checkFailure = "failure"
)

// CheckSummary is what a check shows of the incidents of a commit, of which
// there is at least one, the open ones first: a title in plain text, a summary
// in Markdown, and the conclusion. A failure that is not the change's own, or
// that is known to be flaky, is neutral: it must not hold up who cannot mend it.
func CheckSummary(all []Incident) (title, summary, conclusion string) {
	conclusion = checkSuccess
	var parts []string
	for _, i := range all {
		switch {
		case i.IsResolved() && i.Resolution != endedByBase:
		case i.IsFlaky || i.BrokenBase != nil || i.Scope != ScopeChange:
			if conclusion == checkSuccess {
				conclusion = checkNeutral
			}
		default:
			conclusion = checkFailure
		}
		parts = append(parts, incidentMarkdown(i))
	}
	title = all[0].title()
	open, _ := apart(all)
	switch {
	case len(open) == 0:
		title = "Resolved: " + title
	case open[0].BrokenBase != nil:
		title = "Not yours: " + title
	}
	switch {
	case len(open) > 1:
		title = fmt.Sprintf("%s, and %d more", title, len(open)-1)
	}
	return cut(title, 120), strings.Join(parts, "\n"), conclusion
}

func incidentMarkdown(i Incident) string {
	i = i.cut(500)
	var b strings.Builder
	fmt.Fprintf(&b, "### %s %s\n\n", statusMark(i), mdLink(i.URL, i.title()))
	fmt.Fprintf(&b, "**%s**", forge.Inert(orElse(i.Status, "open")))
	if i.Reason != "" {
		b.WriteString(": " + forge.Inert(i.Reason))
	}
	b.WriteString("\n\n")
	if i.BrokenBase != nil {
		b.WriteString(notYours(*i.BrokenBase) + "\n\n")
		i.Owner, i.Culprit, i.SHA, i.Severity = "", "", "", "" // it is nobody's here
	}
	if i.Headline != "" && !i.IsResolved() {
		b.WriteString("> " + mdCode(i.Headline) + "\n\n")
	}
	for _, f := range []struct{ name, value, why string }{
		{"Workflow", i.Workflow, ""}, {"Job", i.Job, ""}, {"Branch", i.Branch, ""}, {"Severity", i.Severity, i.Category},
		{"Owner", i.Owner, i.OwnerRule}, {"Culprit", i.Culprit, i.CulpritState}, {"Commit", i.SHA, i.CommitTitle},
	} {
		if f.value == "" {
			continue
		}
		b.WriteString("- " + f.name + ": " + mdCode(f.value))
		if f.why != "" {
			b.WriteString(" – " + forge.Inert(f.why))
		}
		b.WriteString("\n")
	}
	if len(i.Lines) > 0 && !i.IsResolved() {
		b.WriteString("\n" + forge.Fenced(strings.Join(i.Lines, "\n")))
	}
	b.WriteString(mdRuns(i))
	return b.String()
}

// endedByBase is the end of a failure that was the base's: it says nothing of
// the change, whose commit is red still.
const endedByBase = "base_mended"

// notYours says whose failure it is that a change fails of too.
func notYours(b BrokenBase) string {
	if b.IsMended {
		return fmt.Sprintf("**Not yours**: it was the failure of %s, which %s. Bring the change up to date to have it mended here too.",
			mdCode(b.Branch), mdLink(b.URL, "is mended"))
	}
	return fmt.Sprintf("**Not yours**: %s fails of the same, on a commit that this change contains. %s",
		mdCode(b.Branch), mdLink(b.URL, "Its incident"))
}

func mdRuns(i Incident) string {
	var runs []string
	if link := webLink(i.RunURL); link != "" {
		runs = append(runs, mdLink(link, "Failed run"))
	}
	if link := webLink(i.ResolvedURL); link != "" && i.IsResolved() {
		runs = append(runs, mdLink(link, "Run that passed"))
	}
	if len(runs) == 0 {
		return ""
	}
	return "\n" + strings.Join(runs, " · ") + "\n"
}

// mdCode is a text as code, where the forges look for nothing.
func mdCode(s string) string {
	s = oneLine(s)
	if s == "" {
		return ""
	}
	ticks := strings.Repeat("`", longestRun(s, '`')+1)
	return ticks + " " + s + " " + ticks // Markdown takes one space off each end
}

// longestRun is how often a character stands in a row at the most.
func longestRun(s string, of rune) int {
	longest, run := 0, 0
	for _, r := range s {
		if r != of {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// mdLink is a link with a text of others' making, or the text alone when the
// address is none.
func mdLink(address, text string) string {
	link := webLink(address)
	if link == "" || len(link) > 1000 {
		return forge.Inert(text)
	}
	return "[" + forge.Inert(text) + "](<" + link + ">)"
}
