package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheREADMENamesWhatThereIs looks for each test, command and folder that
// the README names.
func TestTheREADMENamesWhatThereIs(t *testing.T) {
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(raw)
	tests := testNames(t)
	for _, name := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(readme, -1) {
		if !tests[name] {
			t.Errorf("there is no test %s", name)
		}
	}
	for _, m := range regexp.MustCompile("`devflowfix ([a-z-]+)").FindAllStringSubmatch(readme, -1) {
		if code, stdout, _ := call(t, nil, m[1], "--help"); code != 0 || !strings.Contains(stdout, "Usage: devflowfix "+m[1]) {
			t.Errorf("there is no command %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?:internal|cmd|handlers|workers)/[a-z/]+[a-z](?:\.[a-z]+)?`).FindAllString(readme, -1) {
		if _, err := os.Stat(filepath.Join("../..", m)); err != nil {
			t.Errorf("there is no %s", m)
		}
	}
}

// testNames are the tests of the whole tree.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				names[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
