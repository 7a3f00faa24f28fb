package owner_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/owner"
)

// owners writes who owns a path as "@a @b", and nobody as "".
func owners(c *owner.Codeowners, path string) string {
	m, _ := c.Owners(path)
	return strings.Join(m.Owners, " ")
}

// TestPatterns has a row for every kind of pattern; covers and leaves list
// paths, separated by commas.
func TestPatterns(t *testing.T) {
	tests := []struct {
		dialect                 owner.Dialect
		pattern, covers, leaves string
	}{
		{owner.GitHub, "*", "a.go,x/y/b.go,.env", ""},
		{owner.GitHub, "*.js", "a.js,x/y/b.js,.js", "a.jsx,x/a.go"},
		{owner.GitHub, "/*.js", "a.js", "x/a.js"},
		{owner.GitHub, "/*", "a.go", "x/a.go"},
		{owner.GitHub, "docs/*", "docs/a.md", "docs/x/a.md,x/docs/a.md,docs"},
		{owner.GitHub, "docs/*.md", "docs/a.md", "docs/x/a.md"},
		{owner.GitHub, "apps/", "apps/a,x/apps/y/a", "apps,apps2/a"},
		{owner.GitHub, "/apps/", "apps/a,apps/x/a", "x/apps/a,apps"},
		{owner.GitHub, "/apps", "apps,apps/x/a", "x/apps,apps2"},
		{owner.GitHub, "logs", "logs,x/logs/a", "logs2"},
		{owner.GitHub, "build/logs", "build/logs,build/logs/x/a", "x/build/logs/a"},
		{owner.GitHub, "**/logs", "logs/a,build/logs/a,deep/in/logs", "logs2/a"},
		{owner.GitHub, "/a/**/z", "a/z,a/b/z,a/b/c/z/q", "b/a/z"},
		{owner.GitHub, "/a/**", "a/b,a/b/c", "a"},
		{owner.GitHub, "a?c.go", "abc.go,aäc.go", "ac.go,a/c.go"},
		{owner.GitHub, `my\ docs/`, "my docs/a", "my/a,docs/a"},
		{owner.GitHub, `a\*b`, "a*b", "axb"},
		{owner.GitHub, "a*b*c", "abc,axbxbxc", "abcx"},
		{owner.GitHub, "Readme", "Readme", "README"},

		{owner.GitLab, "*", "a.go,x/y/b.go,.env", ""},
		{owner.GitLab, "*.rb", "a.rb,x/y/.b.rb", "a.rbx"},
		{owner.GitLab, "README.md", "README.md,x/y/README.md", "README.md/x"},
		{owner.GitLab, "internal/README.md", "internal/README.md,docs/api/internal/README.md", "README.md"},
		{owner.GitLab, "docs", "docs,x/docs", "docs/a.md"},
		{owner.GitLab, "docs/", "docs/a,x/docs/y/a", "docs"},
		{owner.GitLab, "/docs/", "docs/a,docs/x/a", "x/docs/a,docs"},
		{owner.GitLab, "/docs/*", "docs/a", "docs/x/a"},
		{owner.GitLab, "/docs/*spec*", "docs/qa_specs.rb,docs/runtime.spec", "docs/x/spec"},
		{owner.GitLab, "/docs/**/index.md", "docs/index.md,docs/api/graphql/index.md", "index.md"},
		{owner.GitLab, "/docs/**", "docs/a", "docs/x/a"},
		{owner.GitLab, "/docs/**/*", "docs/a,docs/x/a", "x/a"},
		{owner.GitLab, `path\ with\ spaces/`, "path with spaces/a", "path/a"},
		{owner.GitLab, `\#pound.rb`, "#pound.rb,x/#pound.rb", "pound.rb"},
		{owner.GitLab, `/dir\!name/a.rb`, "dir!name/a.rb", "dirname/a.rb"},
		{owner.GitLab, "/v[0-9].go", "v1.go", "va.go,v10.go"},
		{owner.GitLab, "/v[!0-9].go", "va.go", "v1.go"},
		{owner.GitLab, "/", "a,x/b", ""},
	}
	for _, tt := range tests {
		t.Run(string(tt.dialect)+" "+tt.pattern, func(t *testing.T) {
			c := owner.Parse(tt.dialect, tt.pattern+"\t@team")
			for _, path := range paths(tt.covers) {
				if owners(c, path) != "@team" {
					t.Errorf("does not cover %q", path)
				}
			}
			for _, path := range paths(tt.leaves) {
				if owners(c, path) != "" {
					t.Errorf("covers %q", path)
				}
			}
			if p := c.Problems(); len(p) > 0 {
				t.Errorf("problems %+v", p)
			}
		})
	}
}

func paths(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

func TestFiles(t *testing.T) {
	tests := []struct {
		name    string
		dialect owner.Dialect
		file    string
		path    string
		want    string // owners
		line    int
		section string
	}{
		{"the last line that matches wins", owner.GitHub, "* @all\n*.go @go\n", "a.go", "@go", 2, ""},
		{"an earlier line serves where the last does not match", owner.GitHub, "* @all\n*.go @go\n", "a.md", "@all", 1, ""},
		{"a line without owners takes the path away", owner.GitHub, "/apps/ @octocat\n/apps/github\n", "apps/github/a", "", 2, ""},
		{"several owners of all sorts", owner.GitHub, "* @ann @acme/pay-team x@acme.io\n", "a", "@ann @acme/pay-team x@acme.io", 1, ""},
		{"a comment behind the owners", owner.GitHub, "*.js @js #for @nobody\n", "a.js", "@js", 1, ""},
		{"empty lines, comments, a BOM and CRLF", owner.GitHub, "\uFEFF# who\r\n\r\n* @all\r\n", "a", "@all", 3, ""},
		{"a wrong line costs that line only", owner.GitHub, "* @all\n*.go nobody\n", "a.go", "@all", 1, ""},
		{"an exclusion is skipped", owner.GitHub, "* @all\n!*.go @x\n", "a.go", "@all", 1, ""},
		{"a section is skipped", owner.GitHub, "* @all\n[Docs] @x\n*.md\n", "a.md", "", 3, ""},
		{"a range is skipped", owner.GitHub, "* @all\n/[a-z].go @x\n", "a.go", "@all", 1, ""},
		{"an escaped pound is skipped", owner.GitHub, "* @all\n\\#a @x\n", "#a", "@all", 1, ""},

		{"the last line of a section wins", owner.GitLab, "*.md @doc\nterms.md @legal\n", "terms.md", "@legal", 2, ""},
		{"sections add up, the unnamed one first", owner.GitLab, "* @admin\n[README Owners]\nREADME.md @u1 @u2\ninternal/README.md @u4\n[Other]\nREADME.md @u3\n", "internal/README.md", "@admin @u4 @u3", 1, ""},
		{"an owner of two sections counts once", owner.GitLab, "* @a\n[B]\n* @a @b\n", "x", "@a @b", 1, ""},
		{"a line inherits the owners of its section", owner.GitLab, "[Database] @db @ann\nmodel/db/\n", "model/db/x", "@db @ann", 2, "Database"},
		{"and may override them", owner.GitLab, "[Database] @db\nmodel/\nmodel/x @docs\n", "model/x", "@docs", 3, "Database"},
		{"a section may be optional and want approvals", owner.GitLab, "^[Go]\n*.go @go\n[Docs][2] @docs\n*.md\n", "a.md", "@docs", 4, "Docs"},
		{"an optional section owns", owner.GitLab, "^[Go]\n*.go @go\n", "a.go", "@go", 2, "Go"},
		{"sections of one name are one, without case", owner.GitLab, "[Docs]\nREADME.md @a\n[DB]\nx @b\n[DOCS]\nREADME.md @c\n", "README.md", "@c", 6, "Docs"},
		{"default owners are of the header above", owner.GitLab, "[Docs] @a\nx\n[Docs]\ny\n", "y", "", 4, "Docs"},
		{"an exclusion takes the path out", owner.GitLab, "* @all\n!pom.xml\n", "pom.xml", "", 0, ""},
		{"and later lines do not bring it back", owner.GitLab, "[Ruby]\n*.rb @ruby\n!/config/**/*.rb\n/config/routes.rb @ops\n", "config/routes.rb", "", 0, ""},
		{"but only out of its section", owner.GitLab, "[Ruby]\n*.rb @ruby\n!/config/**/*.rb\n[Config]\n/config/ @ops\n", "config/a.rb", "@ops", 5, "Config"},
		{"roles, nested groups and addresses", owner.GitLab, "* @@developer @@Maintainers @a/b/c x@acme.io\n", "a", "@@developer @@Maintainers @a/b/c x@acme.io", 1, ""},
		{"malformed owners are left out", owner.GitLab, "/path/* @group nobody @user\n", "path/a", "@group @user", 1, ""},
		{"owners in a comment count", owner.GitLab, "*.rb @a # not @b\n", "x.rb", "@a @b", 1, ""},
		{"a line of only malformed owners owns nothing", owner.GitLab, "* @all\n*.js nobody\n", "a.js", "", 2, ""},
		{"a section that is not closed is an entry", owner.GitLab, "* @group\n[Section name\ndocs/ @docs\n", "docs/a", "@docs", 3, ""},
		{"a section without a name is one of its own", owner.GitLab, "* @all\n[]\n* @x\n", "a", "@all @x", 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, owned := owner.Parse(tt.dialect, tt.file).Owners(tt.path)
			if got := strings.Join(m.Owners, " "); got != tt.want || owned != (tt.want != "") {
				t.Errorf("owners %q (%t), want %q", got, owned, tt.want)
			}
			if m.Line != tt.line || m.Section != tt.section {
				t.Errorf("line %d of section %q, want %d of %q", m.Line, m.Section, tt.line, tt.section)
			}
		})
	}
}

func TestProblemsNameTheLine(t *testing.T) {
	tests := []struct {
		dialect owner.Dialect
		line    string
		want    string // part of the sentence
	}{
		{owner.GitHub, "!a @x", "exclusions"},
		{owner.GitHub, "[Docs]", "sections"},
		{owner.GitHub, "^[Docs]", "sections"},
		{owner.GitHub, "v[0-9] @x", "ranges"},
		{owner.GitHub, `\#a @x`, "backslash"},
		{owner.GitHub, "/ @x", "Use *"},
		{owner.GitHub, "a//b @x", "two slashes"},
		{owner.GitHub, "* ann", "ann is no @user"},
		{owner.GitHub, strings.Repeat("a", 1025) + " @x", "1,024"},
		{owner.GitLab, "[Docs", "not closed"},
		{owner.GitLab, "[] @a", "no name"},
		{owner.GitLab, "^[Docs][2]", "approvals"},
		{owner.GitLab, "[Docs] ann", "ann"},
		{owner.GitLab, "[ab]*.rb @x", "header"},
		{owner.GitLab, "a.go", "Nobody"},
		{owner.GitLab, "a.go ann", "Nobody"},
		{owner.GitLab, "a.go @a # note", "comments"},
		{owner.GitLab, "a[b @x", "bracket"},
		{owner.GitLab, "! @x", "missing"},
		{owner.GitLab, strings.Repeat("a", 1025) + " @x", "1,024"},
	}
	for _, tt := range tests {
		t.Run(string(tt.dialect)+" "+tt.line[:min(20, len(tt.line))], func(t *testing.T) {
			problems := owner.Parse(tt.dialect, "# first\n"+tt.line+"\n").Problems()
			for _, p := range problems {
				if p.Line == 2 && strings.Contains(p.Sentence, tt.want) {
					return
				}
			}
			t.Errorf("problems %+v, want one of line 2 with %q", problems, tt.want)
		})
	}
}

func TestPathsInTheForgesOrder(t *testing.T) {
	if diff := cmp.Diff([]string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"}, owner.Paths(owner.GitHub)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"}, owner.Paths(owner.GitLab)); diff != "" {
		t.Error(diff)
	}
}

func TestNoFileOwnsNothing(t *testing.T) {
	var c *owner.Codeowners
	if _, owned := c.Owners("a"); owned || c.Problems() != nil {
		t.Error("a missing file owns something")
	}
}

func TestHugeFilesAreNotUsed(t *testing.T) {
	for name, file := range map[string]string{
		"3 MB":          "* @a\n" + strings.Repeat("# filler\n", 350_000),
		"many entries":  strings.Repeat("a @b\n", 100_001),
		"many problems": strings.Repeat("a b\n", 1_000),
	} {
		t.Run(name, func(t *testing.T) {
			c := owner.Parse(owner.GitHub, file)
			if n := len(c.Problems()); n == 0 || n > 100 {
				t.Errorf("%d problems", n)
			}
			if got := owners(c, "a"); got != "" {
				t.Errorf("owners %q", got)
			}
		})
	}
}

// The worst that a file can do: patterns that nearly match at every place. One
// that would take long is not used.
func TestHostilePatternsEnd(t *testing.T) {
	path := strings.Repeat("a", 250) + "/" + strings.Repeat("a", 250) + "/" + strings.Repeat("a/", 200) + "z"
	for _, pattern := range []string{
		strings.Repeat("a*", 120) + "b",
		"*" + strings.Repeat("?", 120) + "b",
		strings.Repeat("**/a/", 200) + "b",
	} {
		c := owner.Parse(owner.GitLab, strings.Repeat(pattern+" @x\n", 2<<20/(len(pattern)+4)))
		began := time.Now()
		if got := owners(c, path); got != "" {
			t.Errorf("owners %q", got)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%.10s… took %v", pattern, took)
		} else {
			t.Log(took)
		}
	}
}

// reference matches as the documents say it, by trying everything: slow, but
// plain to read. It knows *, ? and ** between slashes.
func reference(pattern, path string) bool {
	switch {
	case pattern == "":
		return path == ""
	case strings.HasPrefix(pattern, "**/"):
		for rest := path; ; {
			if reference(pattern[3:], rest) {
				return true
			}
			_, after, more := strings.Cut(rest, "/")
			if !more {
				return false
			}
			rest = after
		}
	case pattern[0] == '*':
		for i := 0; ; i++ {
			if reference(pattern[1:], path[i:]) {
				return true
			}
			if i == len(path) || path[i] == '/' {
				return false
			}
		}
	case path == "" || pattern[0] == '?' && path[0] == '/' || pattern[0] != '?' && pattern[0] != path[0]:
		return false
	}
	return reference(pattern[1:], path[1:])
}

func TestMatchingAgreesWithTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`((\*\*|[ab*?]{1,4})/){0,3}[ab?]{0,2}\*?[ab]`).Filter(func(p string) bool {
			return !strings.Contains(p, "***") // which only the reference takes for two and one
		}).Draw(t, "pattern")
		path := rapid.StringMatching(`([ab]{1,4}/){0,3}[ab]{1,4}`).Draw(t, "path")
		got := owners(owner.Parse(owner.GitLab, "/"+pattern+" @x"), path) != ""
		if want := reference(pattern, path); got != want {
			t.Fatalf("/%s covers %s: %t, want %t", pattern, path, got, want)
		}
	})
}

func TestALaterLineDecidesAtGitHub(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"*", "a/", "/b", "*.go", "a/*", "**/c", "zz"}), 1, 8).Draw(t, "lines")
		path := rapid.SampledFrom([]string{"a/b.go", "b", "c", "a/c/d.go", "x.md"}).Draw(t, "path")
		file, want := "", 0
		for i, pattern := range lines {
			file += fmt.Sprintf("%s @o%d\n", pattern, i+1)
			if owners(owner.Parse(owner.GitHub, pattern+" @x"), path) != "" {
				want = i + 1
			}
		}
		if m, _ := owner.Parse(owner.GitHub, file).Owners(path); m.Line != want {
			t.Fatalf("line %d decides over %s, want %d of\n%s", m.Line, path, want, file)
		}
	})
}

func FuzzCodeowners(f *testing.F) {
	f.Add(true, "* @a\n[Docs][2] @b\n!x/**/y\n\\#z @@owner\n", "x/q/y")
	f.Add(false, "docs/* x@acme.io\n/a\\ b/ @c # d\n", "docs/a")
	f.Add(true, "[a-\n[\\", "\x00\xff")
	f.Fuzz(func(t *testing.T, gitlab bool, file, path string) {
		dialect := owner.GitHub
		if gitlab {
			dialect = owner.GitLab
		}
		c := owner.Parse(dialect, file)
		for _, p := range c.Problems() {
			if p.Sentence == "" || p.Line < 0 || p.Line > strings.Count(file, "\n")+1 || p.Text != strings.ToValidUTF8(p.Text, "") {
				t.Errorf("problem %+v", p)
			}
		}
		m, owned := c.Owners(path)
		if owned != (len(m.Owners) > 0) || owned && m.Line == 0 {
			t.Errorf("match %+v, owned %t", m, owned)
		}
		for _, o := range m.Owners {
			if !strings.Contains(file, o) || strings.ContainsAny(o, "\x00 \n<>\"") {
				t.Errorf("owner %q", o)
			}
		}
		if choice := owner.Choose(owner.Facts{Codeowners: c, Files: []string{path}}); strings.ContainsRune(choice.Rule, 0) {
			t.Errorf("rule %q", choice.Rule)
		}
	})
}

func BenchmarkOwners(b *testing.B) {
	var file strings.Builder
	for i := range 5_000 {
		fmt.Fprintf(&file, "/services/team%d/**/*.go @acme/team%d\n", i%700, i)
	}
	for _, d := range []owner.Dialect{owner.GitHub, owner.GitLab} {
		c := owner.Parse(d, file.String())
		b.Run(string(d)+"/last line", func(b *testing.B) {
			for b.Loop() {
				c.Owners("services/team99/api/v1/pay.go")
			}
		})
		b.Run(string(d)+"/nobody", func(b *testing.B) {
			for b.Loop() {
				c.Owners("services/none/api/v1/pay.go")
			}
		})
	}
}
