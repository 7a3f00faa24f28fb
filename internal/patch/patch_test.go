package patch_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/patch"
)

// tree reads files from a map.
func tree(files map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		content, there := files[path]
		if !there {
			return nil, fault.New(fault.NotFound, "There is no such file.")
		}
		return []byte(content), nil
	}
}

var files = map[string]string{
	"main.go": "package main\n\nfunc main() {\n\tprintln(1)\n}\n", "run.sh": "echo 1\n", "no-end": "a\nb", "bin": "a\x00b\n",
}

const edit = "diff --git a/main.go b/main.go\nindex 1111111..2222222 100644\n--- a/main.go\n+++ b/main.go\n@@ -2,4 +2,4 @@\n \n func main() {\n-\tprintln(1)\n+\tprintln(2)\n }\n"

func TestApply(t *testing.T) {
	for _, c := range []struct {
		name, patch string
		want        []forge.FileChange
	}{
		{"an edit", edit, []forge.FileChange{{Path: "main.go", Content: []byte("package main\n\nfunc main() {\n\tprintln(2)\n}\n"), Mode: forge.RegularFile}}},
		{"an edit without git's lines", "--- a/run.sh\n+++ b/run.sh\n@@ -1 +1 @@\n-echo 1\n+echo 2\n", []forge.FileChange{{Path: "run.sh", Content: []byte("echo 2\n")}}},
		{"a new file", "diff --git a/docs/new.md b/docs/new.md\nnew file mode 100644\n--- /dev/null\n+++ b/docs/new.md\n@@ -0,0 +1 @@\n+hello\n",
			[]forge.FileChange{{Path: "docs/new.md", Content: []byte("hello\n"), Mode: forge.RegularFile}}},
		{"a deletion", "diff --git a/run.sh b/run.sh\ndeleted file mode 100755\n--- a/run.sh\n+++ /dev/null\n@@ -1 +0,0 @@\n-echo 1\n", []forge.FileChange{{Path: "run.sh", Delete: true}}},
		{"a rename", "diff --git a/run.sh b/go.sh\nsimilarity index 100%\nrename from run.sh\nrename to go.sh\n",
			[]forge.FileChange{{Path: "go.sh", Content: []byte("echo 1\n")}, {Path: "run.sh", Delete: true}}},
		{"a mode", "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n", []forge.FileChange{{Path: "run.sh", Content: []byte("echo 1\n"), Mode: forge.ExecutableFile}}},
		{"no line end", "--- a/no-end\n+++ b/no-end\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n", []forge.FileChange{{Path: "no-end", Content: []byte("a\nc")}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := patch.Apply(tree(files), []byte(c.patch))
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("Apply: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// making is a patch that makes a file of that name and mode.
func making(name, mode string) string {
	return fmt.Sprintf("diff --git a/%[1]s b/%[1]s\nnew file mode %[2]s\n--- /dev/null\n+++ b/%[1]s\n@@ -0,0 +1 @@\n+x\n", name, mode)
}

func TestApplyRefuses(t *testing.T) {
	many := ""
	for i := range forge.MostFiles + 1 {
		many += making(fmt.Sprint("f", i), "100644")
	}
	for _, c := range []struct {
		name, patch string
		want        fault.Kind
	}{
		{"no patch", "hello\n", fault.Invalid},
		{"nothing", "", fault.Invalid},
		{"a hunk that lies", "--- a/run.sh\n+++ b/run.sh\n@@ -1,9 +1 @@\n-echo 1\n+echo 2\n", fault.Invalid},
		{"a path outside", making("../evil", "100644"), fault.Invalid},
		{"a path that leaves", making("a/../../evil", "100644"), fault.Invalid},
		{"an absolute path", "--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", fault.Invalid},
		{"git's own files", making(".git/hooks/pre-commit", "100644"), fault.Invalid},
		{"git's own files in other letters", making("a/.GIT/config", "100644"), fault.Invalid},
		{"git's own files by their short name", making("git~1/config", "100644"), fault.Invalid},
		{"a symbolic link", making("link", "120000"), fault.Invalid},
		{"a submodule", making("sub", "160000"), fault.Invalid},
		{"a link that becomes a file", "diff --git a/run.sh b/run.sh\nold mode 120000\nnew mode 100644\n", fault.Invalid},
		{"a binary patch", "diff --git a/bin b/bin\nindex 1..2 100644\nGIT binary patch\nliteral 1\nIcmZPo000310RR91\n\nliteral 0\nHcmV?d00001\n\n", fault.Invalid},
		{"a binary marker", "diff --git a/bin b/bin\nindex 1..2 100644\nBinary files a/bin and b/bin differ\n", fault.Invalid},
		{"an edit of a binary file", "--- a/bin\n+++ b/bin\n@@ -1 +1 @@\n-a\x00b\n+c\n", fault.Invalid},
		{"a binary result", "--- a/run.sh\n+++ b/run.sh\n@@ -1 +1 @@\n-echo 1\n+\x00\n", fault.Invalid},
		{"the same file twice", edit + edit, fault.Invalid},
		{"a file that is there", making("run.sh", "100644"), fault.Conflict},
		{"a file that is not there", "--- a/gone\n+++ b/gone\n@@ -1 +1 @@\n-a\n+b\n", fault.Conflict},
		{"other lines", strings.ReplaceAll(edit, "println(1)", "println(7)"), fault.Conflict},
		{"other place", strings.ReplaceAll(edit, "@@ -2,4 +2,4 @@", "@@ -1,4 +1,4 @@"), fault.Conflict},
		{"a deletion of more than it says", "diff --git a/main.go b/main.go\ndeleted file mode 100644\n--- a/main.go\n+++ /dev/null\n@@ -1 +0,0 @@\n-package main\n", fault.Conflict},
		{"a deletion that shows nothing", "diff --git a/main.go b/main.go\ndeleted file mode 100644\n", fault.Conflict},
		{"too many files", many, fault.TooLarge},
		{"too many bytes", strings.Repeat("x", patch.Largest+1), fault.TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := patch.Apply(tree(files), []byte(c.patch))
			if !fault.Is(err, c.want) || got != nil {
				t.Errorf("Apply = %v, %v, want %s", got, err, c.want)
			}
		})
	}
}

func TestApplyKeepsTheErrorOfTheReader(t *testing.T) {
	lost := errors.New("no connection")
	_, err := patch.Apply(func(string) ([]byte, error) { return nil, lost }, []byte(edit))
	if !errors.Is(err, lost) {
		t.Errorf("err = %v", err)
	}
}

// TestApplyDoesWhatThePatchSays makes patches that replace one line of a file.
func TestApplyDoesWhatThePatchSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.StringMatching(`[a-z +\-@\\]{0,6}`), 1, 12).Draw(t, "lines")
		at := rapid.IntRange(0, len(lines)-1).Draw(t, "at")
		with := rapid.StringMatching(`[A-Z]{1,5}`).Draw(t, "with")
		var hunk strings.Builder
		fmt.Fprintf(&hunk, "--- a/f\n+++ b/f\n@@ -1,%d +1,%d @@\n", len(lines), len(lines))
		for i, l := range lines {
			if i == at {
				fmt.Fprintf(&hunk, "-%s\n+%s\n", l, with)
				continue
			}
			fmt.Fprintf(&hunk, " %s\n", l)
		}
		after := append(append(append([]string{}, lines[:at]...), with), lines[at+1:]...)
		got, err := patch.Apply(tree(map[string]string{"f": strings.Join(lines, "\n") + "\n"}), []byte(hunk.String()))
		if err != nil || len(got) != 1 || string(got[0].Content) != strings.Join(after, "\n")+"\n" {
			t.Fatalf("Apply = %v, %v", got, err)
		}
	})
}

func FuzzApply(f *testing.F) {
	for _, seed := range []string{edit, making("a/b", "100644"), making("../a", "120000"), "GIT binary patch\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		changes, err := patch.Apply(tree(files), raw)
		if err != nil {
			return
		}
		p := forge.Proposal{Branch: "b", Base: "main", BaseSHA: strings.Repeat("a", 40), Title: "t", CommitMessage: "m", Files: changes}
		if err := p.Validate(); err != nil {
			t.Errorf("%q gives what cannot be proposed: %v", raw, err)
		}
	})
}
