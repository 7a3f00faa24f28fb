// Package fix knows the pull and merge requests that mean to end incidents:
// which ones they are, how far they have come, whether they helped, and when
// DevFlowFix may open one by itself.
//
// Events of changes come late, twice and in any order. What is known of a
// change is therefore joined (Seen.With) by the forge's own times, and gives
// the same in whatever order it came.
package fix

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Kind says where a fix comes from.
type Kind string

// The kinds.
const (
	Revert Kind = "revert" // ours: the reverse of a commit
	Fixer  Kind = "fixer"  // ours: the answer of the operator's fixer
	Linked Kind = "linked" // somebody's, who said what it is for
)

// State says how far a fix has come.
type State string

// The states. The first two are of fixes that the forge has not heard of.
const (
	Opening   State = "opening"
	Withdrawn State = "withdrawn" // it did not come to be opened; a reason says why
	Draft     State = "draft"
	Open      State = "open"
	Approved  State = "approved" // as it is now
	Merged    State = "merged"
	Closed    State = "closed"
)

// IsOpen reports whether the fix may still be merged.
func (s State) IsOpen() bool { return s == Draft || s == Open || s == Approved }

// The names of branches that mean to end an incident.
const branchPrefix = "devflowfix/fix-"

var (
	incidentID = `inc_[0-9a-hjkmnp-tv-z]{26}`
	inBranch   = regexp.MustCompile(`^devflowfix/fix-(` + incidentID + `)(?:-.*)?$`)
	inBody     = regexp.MustCompile(`(?mi)^[ \t]*Fixes[ -]incident:?[ \t]+(?:<?https?://[^\s<>]+/incidents/)?(` + incidentID + `)\b`)
	reverted   = regexp.MustCompile(`(?m)^This reverts commit ([0-9a-f]{40}(?:[0-9a-f]{24})?)\b`)
)

// mostLinks bounds how many incidents one change may mean to end.
const mostLinks = 20

// Links are the incidents that a change means to end: by the name of its
// branch, devflowfix/fix-<incident>, or by lines of its description that read
// "Fixes incident <id>", where the id may be the address of the incident's page.
func Links(branch, body string) []string {
	var ids []string
	if m := inBranch.FindStringSubmatch(branch); m != nil {
		ids = append(ids, m[1])
	}
	for _, m := range inBody.FindAllStringSubmatch(body, mostLinks) {
		if id := strings.ToLower(m[1]); !slices.Contains(ids, id) && len(ids) < mostLinks {
			ids = append(ids, id)
		}
	}
	return ids
}

// Line is the line of a description that links it to an incident.
func Line(incidentID string) string { return "Fixes incident " + incidentID }

// Branch names the branch of the nth (from 1) fix of an incident.
func Branch(incidentID string, n int) string {
	if n <= 1 {
		return branchPrefix + incidentID
	}
	return branchPrefix + incidentID + "-" + strconv.Itoa(n)
}

// Undone are the commits that a commit message says it reverts, in git's words.
func Undone(message string) []string {
	var shas []string
	for _, m := range reverted.FindAllStringSubmatch(message, mostLinks) {
		shas = append(shas, m[1])
	}
	return shas
}
