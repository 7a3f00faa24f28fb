package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/devflowfix/devflowfix/"

// layers lists our packages from the bottom to the top. A package imports only
// from layers below its own.
var layers = [][]string{
	{"migrations", "internal/fault", "internal/secret", "internal/telemetry", "internal/egress", "internal/forgesim"},
	{"internal/forge", "internal/local", "internal/client"},
	{"internal/forge/payload", "internal/queue", "internal/hook", "internal/delivery", "internal/incident", "internal/evidence", "internal/owner", "internal/cilint", "internal/notify", "internal/patch", "internal/fix"},
	{"internal/forge/github", "internal/forge/gitlab", "internal/store", "internal/auth", "internal/config", "internal/web", "internal/fixer"},
	{"handlers", "workers"},
	{"internal/app"},
	{"cmd/devflowfix"},
}

// forTests are packages for tests; no other package may import them.
var forTests = []string{"internal/published", "internal/local/localtest", "internal/harness", "internal/webtest"}

// pure packages decide; they know no clock, database, queue or log.
var pure = []string{"internal/hook", "internal/delivery", "internal/incident", "internal/evidence", "internal/owner", "internal/cilint", "internal/patch", "internal/fix"}

// forgeLibraries are imported nowhere but in the package of their forge.
var forgeLibraries = map[string]string{
	"github.com/google/go-github":      "internal/forge/github",
	"github.com/palantir/go-githubapp": "internal/forge/github",
	"github.com/xanzy/go-gitlab":       "internal/forge/gitlab",
}

func TestImportsPointDown(t *testing.T) {
	rank := map[string]int{}
	for i, layer := range layers {
		for _, pkg := range layer {
			rank[pkg] = i
		}
	}
	eachImport(t, func(pkg, imported string) {
		for library, home := range forgeLibraries {
			if strings.HasPrefix(imported, library) && pkg != home {
				t.Errorf("%s imports %s; only %s may", pkg, imported, home)
			}
		}
		ours, isOurs := strings.CutPrefix(imported, module)
		if !isOurs || isTesting(pkg) {
			return
		}
		from, known := rank[pkg]
		to, knownTo := rank[ours]
		switch {
		case !known:
			t.Errorf("%s is in no layer; add it to the list", pkg)
		case !knownTo:
			t.Errorf("%s imports %s, which is in no layer or for tests only", pkg, ours)
		case to >= from:
			t.Errorf("%s (layer %d) imports %s (layer %d)", pkg, from, ours, to)
		}
	})
}

func TestPurePackagesStayPure(t *testing.T) {
	forbidden := []string{"database/sql", "net", "os", "github.com/rs/zerolog", "github.com/jmoiron/sqlx", "github.com/hibiken/asynq"}
	eachImport(t, func(pkg, imported string) {
		for _, p := range pure {
			if pkg != p {
				continue
			}
			for _, f := range forbidden {
				if imported == f {
					t.Errorf("%s imports %s", pkg, imported)
				}
			}
		}
	})
}

func isTesting(pkg string) bool {
	for _, p := range forTests {
		if pkg == p {
			return true
		}
	}
	return false
}

// eachImport calls visit for every import of every package in the tree, tests
// left out.
func eachImport(t *testing.T, visit func(pkg, imported string)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			visit(filepath.ToSlash(dir), imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
