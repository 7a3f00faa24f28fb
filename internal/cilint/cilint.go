// Package cilint finds mistakes in CI files before a run fails of them.
//
// GitHub's workflows are checked here, by actionlint without its helpers; it
// reads nothing but the bytes that it is given. GitLab checks its own files
// (POST /projects/:id/ci/lint); this package only reads the answer.
package cilint

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Finding is a mistake in a CI file.
type Finding struct {
	Path    string
	Line    int // from 1; 0 when it is not known
	Column  int // from 1; 0 when it is not known
	Message string
	Kind    string // actionlint's rule, or one of the kinds below
	// Key is what makes it this finding: kind, file and message without places.
	Key string
	// Fingerprint is fp1:ci-file: and the hash of Key. It stays the same when
	// lines move.
	Fingerprint string
}

// Kinds that are not rules of actionlint.
const (
	KindUnchecked     = "unchecked" // the file could not be checked
	KindGitLabError   = "gitlab-error"
	KindGitLabWarning = "gitlab-warning"
)

const (
	maxFindings = 50
	maxMessage  = 1_000 // bytes
)

// A place in a message, of actionlint ("line:3,col:5") and of YAML readers
// ("line 3 column 5").
var place = regexp.MustCompile(`(?i)\b(line|column|col)([ :])(\d+)`)

func newFinding(file string, line, column int, kind, message string) Finding {
	message = forge.OneLine(message, maxMessage)
	f := Finding{Path: file, Line: line, Column: column, Message: message, Kind: kind}
	f.Key = kind + " " + forge.OneLine(file, maxMessage) + " " + place.ReplaceAllString(message, "$1$2#")
	sum := sha256.Sum256([]byte(f.Key))
	f.Fingerprint = "fp1:ci-file:" + hex.EncodeToString(sum[:16])
	return f
}

// IsCIFile reports whether a change of the file is worth a check. GitHub reads
// workflows only from the one folder. GitLab reads .gitlab-ci.yml and what it
// includes; the usual places of included files count as well.
func IsCIFile(provider, file string) bool {
	folder, base := path.Split(file)
	if !strings.HasSuffix(base, ".yml") && !strings.HasSuffix(base, ".yaml") {
		return false
	}
	if forge.Provider(provider) == forge.GitHub {
		return folder == ".github/workflows/"
	}
	return forge.Provider(provider) == forge.GitLab &&
		(strings.HasSuffix(base, ".gitlab-ci.yml") || strings.HasPrefix(folder, ".gitlab/ci/") || strings.HasPrefix(folder, ".gitlab-ci/"))
}

// GitLab turns the answer of GitLab's lint API into findings of the project's
// CI file, errors first, at most 50.
func GitLab(file string, errors, warnings []string) []Finding {
	var findings []Finding
	add := func(kind string, messages []string) {
		for _, m := range messages[:min(len(messages), maxFindings-len(findings))] {
			line, column := placeOf(m)
			findings = append(findings, newFinding(file, line, column, kind, m))
		}
	}
	add(KindGitLabError, errors)
	add(KindGitLabWarning, warnings)
	return findings
}

// placeOf reads the last place that a message names; the first is often where
// the block began.
func placeOf(message string) (line, column int) {
	for _, m := range place.FindAllStringSubmatch(message, -1) {
		n, err := strconv.Atoi(m[3])
		switch {
		case err != nil:
		case strings.EqualFold(m[1], "line"):
			line, column = n, 0
		default:
			column = n
		}
	}
	return line, column
}
