package notify_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/notify"
)

// incidents are those of notices.
func incidents(notices ...notify.Notice) []notify.Incident {
	var all []notify.Incident
	for _, n := range notices {
		all = append(all, n.Incident)
	}
	return all
}

func TestWhatACheckConcludes(t *testing.T) {
	one := func(change func(*notify.Incident)) notify.Notice {
		return failed(func(n *notify.Notice) {
			n.Incident.Scope = notify.ScopeChange
			if change != nil {
				change(&n.Incident)
			}
		})
	}
	mended := one(func(i *notify.Incident) { i.Status = "resolved" })
	flaky := one(func(i *notify.Incident) { i.IsFlaky = true })
	excused := func(base notify.BrokenBase) notify.Notice {
		return one(func(i *notify.Incident) { i.BrokenBase = &base })
	}
	main := excused(notify.BrokenBase{URL: "https://dff.example/incidents/inc_2", Branch: "main"})
	tests := []struct {
		name           string
		all            []notify.Incident
		wantConclusion string
		wantTitle      string
	}{
		{"the change's own", incidents(one(nil)), "failure", "TestPay fails"},
		{"two", incidents(one(nil), flaky), "failure", "TestPay fails, and 1 more"},
		{"mended", incidents(mended), "success", "Resolved: TestPay fails"},
		{"one of two mended", incidents(one(nil), mended), "failure", "TestPay fails"},
		{"flaky", incidents(flaky, mended), "neutral", "TestPay fails"},
		{"the base branch's", incidents(failed(nil)), "neutral", "TestPay fails"},
		{"also the base branch's", incidents(main), "neutral", "Not yours: TestPay fails"},
		{"also the base branch's, and one of its own", incidents(one(nil), main), "failure", "TestPay fails, and 1 more"},
		{"the base branch's, which is mended", incidents(one(func(i *notify.Incident) {
			i.Status, i.Resolution = "resolved", "base_mended"
			i.BrokenBase = &notify.BrokenBase{IsMended: true}
		})), "neutral", "Resolved: TestPay fails"},
		{"without a title", incidents(one(func(i *notify.Incident) { i.Title = " \n" })), "failure", "CI fails on main"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			title, summary, conclusion := notify.CheckSummary(tt.all)
			if conclusion != tt.wantConclusion || title != tt.wantTitle || strings.Count(summary, "(<https://dff.example/incidents/inc_1>)") != len(tt.all) {
				t.Errorf("%s, %q:\n%s", conclusion, title, summary)
			}
		})
	}
}

func TestACommentBlamesNobodyForTheFailureOfTheBase(t *testing.T) {
	excused := func(mended bool) []notify.Incident {
		return incidents(failed(func(n *notify.Notice) {
			n.Incident.BrokenBase = &notify.BrokenBase{URL: "https://dff.example/incidents/inc_2", Branch: "@acme/main", IsMended: mended}
			n.Incident.Culprit = "@mallory"
		}))
	}
	body := notify.CommentBody(excused(false))
	for _, want := range []string{"**Not yours**: what fails here fails without this change too\n", "**Not yours**: ` @acme/main ` fails of the same", "(<https://dff.example/incidents/inc_2>)", "want 1, got 2"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in\n%s", want, body)
		}
	}
	for _, blame := range []string{"Owner", "@ann", "@mallory", "Commit"} {
		if strings.Contains(body, blame) {
			t.Errorf("%q is in\n%s", blame, body)
		}
	}
	if body := notify.CommentBody(excused(true)); !strings.Contains(body, "[is mended](<https://dff.example/incidents/inc_2>)") {
		t.Errorf("it does not say that the base is mended:\n%s", body)
	}
}

func TestACommentShowsTheIncidentsOfItsChange(t *testing.T) {
	body := notify.CommentBody(incidents(failed(nil), failed(func(n *notify.Notice) { n.Incident.Title = "Second" })))
	for _, want := range []string{"**2 things fail here**\n", "[TestPay fails](<https://dff.example/incidents/inc_1>)", "[Second]", "- Owner: ` @ann `",
		"```text\n--- FAIL: TestPay\nwant 1, got 2\n```", "[Failed run](<https://github.com/acme/shop/actions/runs/1>)"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in\n%s", want, body)
		}
	}
	many := make([]notify.Notice, 500)
	for i := range many {
		many[i] = failed(nil)
	}
	if long := notify.CommentBody(incidents(many...)); len(long) > 65_536 || !strings.Contains(long, "left out") {
		t.Errorf("%d bytes", len(long))
	}
}

func TestACommentShrinksWhenAllHasEnded(t *testing.T) {
	ended := func(resolution string) notify.Notice {
		return failed(func(n *notify.Notice) {
			n.Incident.Status, n.Incident.Resolution, n.Incident.Reason = "resolved", resolution, "it ended"
		})
	}
	for _, tt := range []struct {
		name string
		all  []notify.Incident
		want string
	}{
		{"green", incidents(ended("green"), ended("superseded")), "**All green**"},
		{"one nobody has mended", incidents(ended("green"), ended("obsolete")), "**Nothing that failed here is open any more**"},
		{"one is open still", incidents(failed(nil), ended("green")), "**What fails here**"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := notify.CommentBody(tt.all)
			if !strings.HasPrefix(body, tt.want) {
				t.Errorf("it begins otherwise than %q:\n%s", tt.want, body)
			}
			if shown := strings.Contains(body, "```"); shown != strings.HasPrefix(tt.want, "**What") {
				t.Errorf("lines are shown: %v\n%s", shown, body)
			}
		})
	}
}

// lively is what the forges make mentions, references, links, HTML or commands
// of (docs.github.com, "Autolinked references"; docs.gitlab.com, "GitLab
// Flavored Markdown" and "Quick actions").
var lively = regexp.MustCompile(`(?m)@[\pL\pN_./-]|(^|[^&\pL\pN])[#!~%$^&][\pL\pN"]|(?i:gh-\d)|://|www\.|^\s*/[a-z]|<[A-Za-z!/?]|!\[`)

// FuzzMarkdownStaysInert puts a stranger's text everywhere: outside of code
// nothing of it lives.
func FuzzMarkdownStaysInert(f *testing.F) {
	for _, s := range []string{"@octocat and @acme/team", "#1 !2 ~bug %v1 &3 $4 ^alert#5 GH-6 acme/shop#7", "/close\n/merge", "](https://evil.example) [x](javascript:alert(1))",
		"``` \n@octocat\n```", "`@octocat`", "<!-- devflowfix incidents -->", "https://evil.example www.evil.example", "\u202e@octocat", "a@b.example", "<A", "| a | b |\n|---|---|", "\\@octocat", "@\u200boctocat"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := failed(func(n *notify.Notice) {
			i := &n.Incident
			i.Title, i.Headline, i.Reason, i.Branch, i.Workflow, i.Job, i.Owner, i.OwnerRule, i.Culprit, i.CulpritState = s, s, s, s, s, s, s, s, s, s
			i.SHA, i.CommitTitle, i.Author, i.Status, i.Severity, i.Category, i.Lines = s, s, s, s, s, s, []string{s, s}
		})
		over := n
		over.Incident.Status = "resolved"
		_, summary, _ := notify.CheckSummary(incidents(n))
		for _, text := range []string{notify.CommentBody(incidents(n)), notify.CommentBody(incidents(over)), summary} {
			// Our own links are no stranger's.
			for _, own := range []string{n.Incident.URL, n.Incident.RunURL} {
				text = strings.ReplaceAll(text, "(<"+own+">)", "()")
			}
			left := withoutCode(t, text)
			if found := lively.FindString(left); found != "" {
				t.Errorf("%q lives in\n%s", found, left)
			}
		}
	})
}

// withoutCode takes code out of Markdown: blocks between fences, then spans
// between equal runs of backticks. What is escaped begins none.
func withoutCode(t *testing.T, text string) string {
	t.Helper()
	var out []string
	fence := ""
	for line := range strings.SplitSeq(text, "\n") {
		ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && len(ticks) >= 3 && strings.TrimLeft(line, "`") == "text":
			fence = ticks
		case fence == "":
			out = append(out, withoutSpans(line))
		case len(ticks) >= len(fence) && strings.TrimSpace(strings.TrimLeft(line, "`")) == "":
			fence = ""
		}
	}
	if fence != "" {
		t.Errorf("a block of code does not end:\n%s", text)
	}
	return strings.Join(out, "\n")
}

func withoutSpans(line string) string {
	var out strings.Builder
	for i := 0; i < len(line); {
		if line[i] == '\\' && i+1 < len(line) {
			if line[i+1] != '<' { // an escaped one begins no tag; signs are looked for all the same
				out.WriteString(line[i : i+2])
			}
			i += 2
			continue
		}
		if line[i] != '`' {
			out.WriteByte(line[i])
			i++
			continue
		}
		run := len(line[i:]) - len(strings.TrimLeft(line[i:], "`"))
		end := closing(line[i+run:], run)
		if end < 0 {
			out.WriteString(line[i : i+run])
			i += run
			continue
		}
		i += run + end + run
	}
	return out.String()
}

// closing is where a run of exactly n backticks begins, or -1.
func closing(s string, n int) int {
	for i := 0; i < len(s); {
		run := len(s[i:]) - len(strings.TrimLeft(s[i:], "`"))
		if run == n {
			return i
		}
		i += max(run, 1)
	}
	return -1
}
