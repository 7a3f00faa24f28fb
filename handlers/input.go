package handlers

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// The names that the forges allow: docs.github.com, "Repository naming
// conventions"; docs.gitlab.com, "Reserved project and group names".
var (
	githubName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$`)
	gitlabName = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_.-]*(/[A-Za-z0-9_.][A-Za-z0-9_.-]*)+$`)
)

func checkFullName(p forge.Provider, name string) error {
	pattern, shape := githubName, "owner/repo"
	if p == forge.GitLab {
		pattern, shape = gitlabName, "group/project or group/sub/project"
	}
	if pattern.MatchString(name) && !hasDotSegment(name) {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Field: "body.repository_full_name",
		Sentence: fmt.Sprintf("A %s repository is named %s, without its host.", p.Title(), shape)}
}

func hasDotSegment(name string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

func unknownEvent(p forge.Provider, known []string) string {
	return fmt.Sprintf("%s's events here are %s.", p.Title(), strings.Join(known, ", "))
}

// A cursor is the place in a list after which the next page begins, opaque to
// callers.
const cursorSeparator = "\n"

func newCursor(parts ...string) *string {
	c := base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, cursorSeparator)))
	return &c
}

// Page is which part of a list a caller asks for.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"50"`
	Cursor string `query:"cursor" maxLength:"500" doc:"next_cursor of the page before."`
}

// readCursor returns the n parts of a cursor; empty ones for the first page.
func readCursor(cursor string, n int) ([]string, error) {
	if cursor == "" {
		return make([]string, n), nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.Split(string(raw), cursorSeparator)
	if err != nil || len(parts) != n || !utf8.Valid(raw) || strings.ContainsRune(string(raw), 0) {
		return nil, errCursor
	}
	return parts, nil
}

// readTime reads a time of a query; zero where there is none.
func readTime(name, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, &fault.Error{Kind: fault.Invalid, Field: "query." + name, Sentence: "The time is none of RFC 3339: 2026-11-24T10:00:00Z."}
	}
	return at, nil
}

var errCursor = &fault.Error{Kind: fault.Invalid, Field: "query.cursor", Sentence: "The cursor is none of ours. Take next_cursor of the page before, or leave it out."}

// readNumber returns the number in a cursor that is one; zero for the first
// page.
func readNumber(cursor string) (int64, error) {
	place, err := readCursor(cursor, 1)
	if err != nil || cursor == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(place[0], 10, 64)
	if err != nil || n < 1 {
		return 0, errCursor
	}
	return n, nil
}

// readPlace returns the time and the id in a cursor; zero for the first page.
func readPlace(cursor string) (at time.Time, id string, err error) {
	place, err := readCursor(cursor, 2)
	if err != nil || cursor == "" {
		return time.Time{}, "", err
	}
	if at, err = time.Parse(time.RFC3339Nano, place[0]); err != nil {
		return time.Time{}, "", errCursor
	}
	return at, place[1], nil
}

func newPlace(at time.Time, id string) *string {
	return newCursor(at.UTC().Format(time.RFC3339Nano), id)
}

// pageOf shows the first limit of a list, which was asked for one more, and the
// cursor of the next page; nil on the last.
func pageOf[From, To any](list []From, limit int, show func(From) To, place func(From) *string) ([]To, *string) {
	shown := make([]To, 0, min(len(list), limit))
	for i, one := range list {
		if i == limit {
			return shown, place(list[i-1])
		}
		shown = append(shown, show(one))
	}
	return shown, nil
}

func newNumber(n int64) *string { return newCursor(strconv.FormatInt(n, 10)) }
