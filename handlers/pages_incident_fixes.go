package handlers

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/devflowfix/devflowfix/internal/fix"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

// mostFixes is how many of its fixes the page of an incident shows.
const mostFixes = 20

// fixStates are the states of a fix, as they are shown.
var fixStates = map[fix.State]web.State{
	fix.Opening: {Word: "being opened", Tone: web.Busy}, fix.Withdrawn: {Word: "not opened", Tone: web.Quiet},
	fix.Draft: {Word: "draft", Tone: web.Busy}, fix.Open: {Word: "open", Tone: web.Busy}, fix.Approved: {Word: "approved", Tone: web.Good},
	fix.Merged: {Word: "merged", Tone: web.Good}, fix.Closed: {Word: "closed", Tone: web.Quiet},
}

// fixRows shows the changes that mean to end an incident.
func fixRows(list []store.Fix, incidentID string) ([]web.FixRow, error) {
	var rows []web.FixRow
	for _, f := range list {
		incidents, err := f.Incidents()
		if err != nil {
			return nil, err
		}
		red := slices.Contains(incidents, store.FixedIncident{ID: incidentID, StillRed: true})
		row := web.FixRow{
			Name: requestName(f.Provider, f.Number), URL: f.URL, Title: f.Title, From: fixOrigin(f), State: fixStates[f.State],
			Note: fixNote(f, red), At: f.CreatedAt,
		}
		if red {
			row.State = web.State{Word: "merged, still red", Tone: web.Bad}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// requestName is what a forge calls a pull or merge request; nothing before it
// has one.
func requestName(p forge.Provider, number *int64) string {
	if number == nil {
		return ""
	}
	return map[forge.Provider]string{forge.GitHub: "#", forge.GitLab: "!"}[p] + strconv.FormatInt(*number, 10)
}

func fixOrigin(f store.Fix) string {
	switch f.Kind {
	case fix.Revert:
		return "DevFlowFix reverts " + short(f.CulpritSHA)
	case fix.Fixer:
		return "by the fixer of DevFlowFix"
	default:
		return "by " + cmp.Or(f.Author, "somebody")
	}
}

// fixNote says what the state of a fix does not.
func fixNote(f store.Fix, stillRed bool) string {
	switch {
	case f.Foreign:
		return "It comes from a fork: it says nothing about the incident until it is merged."
	case f.RevertedAt != nil:
		return "It was reverted since."
	case stillRed:
		return "The same failed on a commit that contains it."
	default:
		return f.Reason
	}
}

func kinRow(k store.Kin) web.KinRow {
	return web.KinRow{Branch: k.Branch, Path: incidentPagePath + k.ID, State: incidentState(store.Incident{Status: k.Status}, false)}
}

// kinRows shows the incident of the base, nil without one, and those of changes.
func kinRows(base *store.Kin, changes []store.Kin) (*web.KinRow, []web.KinRow) {
	var rows []web.KinRow
	for _, k := range changes {
		rows = append(rows, kinRow(k))
	}
	if base == nil {
		return nil, rows
	}
	row := kinRow(*base)
	return &row, rows
}
