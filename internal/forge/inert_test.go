package forge_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// effects are what the forges look for in text after they read the Markdown
// (html-pipeline's filters; GitLab's lib/banzai/filter and reference patterns).
var effects = map[string]*regexp.Regexp{
	"a mention":                 regexp.MustCompile(`@[A-Za-z0-9_]`),
	"a reference":               regexp.MustCompile(`[#!$%&~^][A-Za-z0-9_"]`),
	"a reference by a prefix":   regexp.MustCompile(`[A-Za-z]-\d`),
	"a commit":                  regexp.MustCompile(`[0-9a-fA-F]{7,}`),
	"a link":                    regexp.MustCompile(`(?i)[a-z]:/|mailto:|www\.`),
	"a mark in square brackets": regexp.MustCompile(`\[[\[A-Za-z]`),
}

var hostile = []string{
	"@octocat @acme/team", "fixes #1", "closes acme/shop#12", "GH-12 GL-3 JIRA-77", "see !12 $3 &4 ~label %milestone ^alert#1",
	"0123abc deadbeefdeadbeefdeadbeefdeadbeefdeadbeef 1234567", "acme/shop@0123abcdef", "https://evil.example/x www.evil.example a@b.example",
	"![pixel](https://evil.example/p.png)", "[text](javascript:alert(1))", "[a]: http://x 'y'", "<img src=x onerror=alert(1)>", "<!-- devflowfix x -->",
	"&#64;octocat &commat;octocat", "\\@octocat \\\\@octocat", "`@octocat", "/merge\n/close", "[[wiki]] [TOC] [issue:12] [^1]", "# title\n===\n---\n- [ ] task\n1. one\n> quote",
	"    code\n\tcode", "| a | b |\n|---|---|", "~~~\n```\n@octocat", "*a* _b_ ~~c~~ __d__", "\u202e@octocat @\u200boctocat @\x00octocat \xff@a", ":octocat: ${{ secrets.X }} $$x$$",
}

// checkInert fails when anything would come of a text.
func checkInert(t interface{ Errorf(string, ...any) }, from string) {
	got := forge.Inert(from)
	if !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\t") {
		t.Errorf("Inert(%q) = %q, which is no line of text", from, got)
	}
	source := []byte(got)
	document := goldmark.New(goldmark.WithExtensions(extension.GFM, extension.Footnote)).Parser().Parse(text.NewReader(source))
	var seen strings.Builder
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Document, *ast.Paragraph:
		case *ast.Text:
			if entering {
				seen.Write(n.Value(source))
			}
		default:
			t.Errorf("Inert(%q) = %q, which has a %s", from, got, n.Kind())
		}
		return ast.WalkContinue, nil
	})
	shown := unescape.ReplaceAllString(seen.String(), "$1")
	for what, found := range effects {
		if hit := found.FindString(shown); hit != "" {
			t.Errorf("Inert(%q) shows %q, in which %q is %s", from, shown, hit, what)
		}
	}
	if strings.HasPrefix(got, "/") {
		t.Errorf("Inert(%q) = %q, which is a command", from, got)
	}
}

var unescape = regexp.MustCompile("\\\\([!-/:-@\\[-`{-~])")

func TestNothingComesOfInertText(t *testing.T) {
	for _, from := range hostile {
		checkInert(t, from)
	}
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.OneOf(rapid.SampledFrom(hostile), rapid.StringOf(rapid.RuneFrom([]rune("@#!$&~%^-w.:/[]<>`\\abc123GH \n*_|")))))
		checkInert(t, strings.Join(pieces.Draw(t, "pieces"), ""))
	})
}

func TestInertTextReadsAsBefore(t *testing.T) {
	for from, want := range map[string]string{
		"Parse durations with a day suffix": "Parse durations with a day suffix",
		" two\n lines ":                     "two lines",
		"feature/x_y":                       `feature\/x\_y`,
		"@octocat":                          "\\@\u200boctocat",
		"100% done":                         `100\% done`,
	} {
		if got := forge.Inert(from); got != want {
			t.Errorf("Inert(%q) = %q, want %q", from, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		from := strings.Join(strings.Fields(rapid.StringMatching(`[ -~é]{0,40}`).Draw(t, "from")), " ")
		if got := strings.ReplaceAll(unescape.ReplaceAllString(forge.Inert(from), "$1"), "\u200b", ""); got != from {
			t.Fatalf("%q reads %q", from, got)
		}
	})
}

func FuzzInert(f *testing.F) {
	for _, from := range hostile {
		f.Add(from)
	}
	f.Fuzz(func(t *testing.T, from string) { checkInert(t, from) })
}

func TestFencedTextIsOneBlockOfCode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.OneOf(rapid.SampledFrom(hostile), rapid.StringOf(rapid.RuneFrom([]rune("`~\n @<>a")))).Draw(t, "from")
		document := goldmark.New().Parser().Parse(text.NewReader([]byte(forge.Fenced(from))))
		if first := document.FirstChild(); first.Kind() != ast.KindFencedCodeBlock || first.NextSibling() != nil {
			t.Fatalf("Fenced(%q) = %q", from, forge.Fenced(from))
		}
	})
}

func TestFit(t *testing.T) {
	if got := forge.Fit("short", 100); got != "short" {
		t.Errorf("Fit = %q", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(300, 2000).Draw(t, "limit")
		long := strings.Repeat("intro é\n", rapid.IntRange(0, 60).Draw(t, "intro")) + forge.Fenced(strings.Repeat("line ```` of a log\n", 200))
		got := forge.Fit(long, limit)
		if n := utf8.RuneCountInString(got); n > limit || n < limit/3 {
			t.Fatalf("%d characters of at most %d", n, limit)
		}
		document := goldmark.New().Parser().Parse(text.NewReader([]byte(got)))
		if last := document.LastChild(); last.Kind() != ast.KindParagraph || !strings.Contains(got, "Cut here") {
			t.Fatalf("the note is not seen in %q", got)
		}
	})
}

func TestUnlinkedTextPingsNobody(t *testing.T) {
	for _, from := range hostile {
		got := forge.Unlinked(from)
		if strings.ContainsAny(got, "\n\r\t") {
			t.Errorf("Unlinked(%q) = %q, which is no line of text", from, got)
		}
		for what, found := range effects {
			if hit := found.FindString(got); hit != "" {
				t.Errorf("Unlinked(%q) = %q, in which %q is %s", from, got, hit, what)
			}
		}
	}
	if got := forge.Unlinked(`Revert "Speed it up"`); got != `Revert "Speed it up"` {
		t.Errorf("an ordinary title becomes %q", got)
	}
}
