package notify

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// CommentMarker is the first line of a comment of ours, by which it is found
// again. It shows nothing. Anybody can write it, so who looks for it has to
// look at the author too.
const CommentMarker = "<!-- devflowfix incidents -->"

// CommentBody is the one comment on a pull or merge request, in Markdown. It
// shows how the incidents of the change are, so it is edited in place when one
// of them changes.
func CommentBody(n Notice, others ...Notice) string {
	all := append([]Notice{n}, others...)
	var b strings.Builder
	b.WriteString(CommentMarker + "\n")
	for _, n := range all {
		part := incidentMarkdown(n.Incident)
		if b.Len()+len(part) > commentLimit {
			b.WriteString("\nMore incidents than a comment holds are left out.\n")
			break
		}
		b.WriteString("\n" + part)
	}
	return b.String()
}

// commentLimit keeps below the 65,536 characters that GitHub allows, in bytes.
const commentLimit = 60_000

// The conclusions of a check run that are used.
const (
	checkSuccess = "success"
	checkFailure = "failure"
	checkNeutral = "neutral"
)

// CheckSummary is what a GitHub check run shows of an incident: a title in
// plain text, a summary in Markdown, and the conclusion. A failure that is not
// the change's own, or that is known to be flaky, is neutral: it must not hold
// up who cannot mend it.
func CheckSummary(n Notice) (title, summary, conclusion string) {
	i := n.Incident
	conclusion = checkFailure
	switch {
	case i.IsResolved():
		conclusion = checkSuccess
	case n.Kind == Flaky || i.Category == string(Flaky) || i.Scope != ScopeChange:
		conclusion = checkNeutral
	}
	title = cut(i.title(), 120)
	if i.IsResolved() {
		title = cut("Resolved: "+i.title(), 120)
	}
	return title, incidentMarkdown(i), conclusion
}

func incidentMarkdown(i Incident) string {
	i = i.cut(500)
	var b strings.Builder
	fmt.Fprintf(&b, "### %s %s\n\n", statusMark(i), mdLink(i.URL, i.title()))
	fmt.Fprintf(&b, "**%s**", mdEscape(orElse(i.Status, "open")))
	if i.Reason != "" {
		b.WriteString(": " + mdEscape(i.Reason))
	}
	b.WriteString("\n\n")
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
			b.WriteString(" – " + mdEscape(f.why))
		}
		b.WriteString("\n")
	}
	if len(i.Lines) > 0 && !i.IsResolved() {
		b.WriteString("\n" + mdFence(i.Lines))
	}
	b.WriteString(mdRuns(i))
	return b.String()
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

// apart is a character of no width. Between a sign and a name it keeps the
// forges from reading a mention or a reference.
const apart = "\u200b"

// signs begin what the forges link: mentions (@), issues and merge requests
// (#, !), labels (~), milestones (%), epics (&), snippets ($), alerts (^) and
// others in brackets (docs.gitlab.com, "GitLab-specific references").
const signs = "@#!~%&$^"

// mdEscape makes a text of others' inert in the Markdown of both forges: it is
// shown letter by letter in one line, and mentions, references and links come
// out of it nowhere. A backslash alone does not do: the forges look for
// mentions in what Markdown has made.
func mdEscape(s string) string {
	var b strings.Builder
	for _, r := range oneLine(s) {
		switch {
		case strings.ContainsRune(signs, r):
			b.WriteString("\\" + string(r) + apart)
		case r == '/' || r == '.' || r == '-' || r == '_':
			// https://, www., GH-1 and owner/repo are links as well.
			b.WriteString(apart + "\\" + string(r) + apart)
		case r < utf8.RuneSelf && isPunctuation(r):
			b.WriteString("\\" + string(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isPunctuation tells the characters that a backslash makes plain
// (spec.commonmark.org 0.31, "Backslash escapes").
func isPunctuation(r rune) bool {
	return r >= '!' && r <= '/' || r >= ':' && r <= '@' || r >= '[' && r <= '`' || r >= '{' && r <= '~'
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

// mdFence is lines as a block of code.
func mdFence(lines []string) string {
	longest := 2
	var b strings.Builder
	for _, line := range lines {
		line = strings.TrimRight(strings.Map(printable, strings.ToValidUTF8(line, "\uFFFD")), " ")
		longest = max(longest, longestRun(line, '`'))
		b.WriteString(line + "\n")
	}
	fence := strings.Repeat("`", longest+1)
	return fence + "text\n" + b.String() + fence + "\n"
}

// printable makes a space of what would end a line or turn it around.
func printable(r rune) rune {
	if oneLine(string(r)) == "" {
		return ' '
	}
	return r
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
		return mdEscape(text)
	}
	return "[" + mdEscape(text) + "](<" + link + ">)"
}
