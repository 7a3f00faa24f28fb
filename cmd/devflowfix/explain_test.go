package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fail, pass, empty := filepath.Join(dir, "fail.log"), filepath.Join(dir, "pass.log"), filepath.Join(dir, "empty.log")
	for name, text := range map[string]string{
		fail:  "warning: fatal: no tags\nbuilding\nsrc/a.c:3:4: error: expected ';' token=hunter2hunter2\n",
		pass:  "warning: fatal: no tags\nbuilding\n",
		empty: "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name     string
		args     []string
		wantCode int
		want     []string
	}{
		{"for people", []string{fail, "--green", pass}, 0, []string{"src/a.c: expected ';'", "compile", "fp1:diagnostic:", "(high)", "gcc", ">      3  src/a.c:3:4: error"}},
		{"an empty log", []string{empty}, 0, []string{"without saying why", "(low)"}},
		{"a log that is not there", []string{filepath.Join(dir, "gone.log")}, exitFailure, []string{"There is no file", "gone.log"}},
		{"a directory", []string{dir}, exitFailure, []string{dir + " is a directory"}},
		{"a directory as the green log", []string{fail, "--green", dir}, exitFailure, []string{dir + " is a directory"}},
		{"twice the standard input", []string{"-", "--green", "-"}, exitFailure, []string{"Only one of the logs"}},
		{"no log", nil, exitUsage, []string{`expected "<log>"`, "--help"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := call(t, nil, append([]string{"explain"}, tt.args...)...)
			said := stdout + stderr
			if code != tt.wantCode {
				t.Errorf("exit code %d, want %d: %s", code, tt.wantCode, said)
			}
			for _, want := range tt.want {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
			if strings.Contains(said, "hunter2") {
				t.Errorf("it shows a secret:\n%s", said)
			}
		})
	}
	code, stdout, _ := call(t, nil, "explain", "--json", fail, "--green", pass)
	var got explained
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatal(code, err, stdout)
	}
	if !slices.Equal(got.Lines, []int{3}) || !slices.Equal(got.Files, []string{"src/a.c"}) || got.Category != "compile" || got.Rule != "gcc" {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(stdout, `"tests":[]`) {
		t.Errorf("a list without entries is not []: %s", stdout)
	}
}
