package handlers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

// incidentEvidence shows what explains the newest failed run. While that is
// being looked for, the one before it stands in.
func incidentEvidence(i store.IncidentDetail) (web.IncidentEvidence, error) {
	if len(i.Occurrences) == 0 {
		return web.IncidentEvidence{Message: "None of its runs is kept any more."}, nil
	}
	o := i.Occurrences[0]
	var e web.IncidentEvidence
	switch {
	case o.Evidence == store.EvidencePending && len(i.Occurrences) > 1:
		o = i.Occurrences[1]
		e.Message = "The logs of the newest run are being read. Until then, this is of the run before it."
	case o.Evidence == store.EvidencePending:
		e.Message = "The logs are being read. They show up here by themselves."
	case o.Evidence != store.EvidenceReady:
		e.Message = o.Evidence
	}
	jobs, err := o.Jobs()
	if err != nil {
		return e, err
	}
	e.Run, e.RunURL, e.At = runName(o), o.URL, o.FinishedAt
	slices.SortStableFunc(jobs, func(a, b store.FailedJob) int {
		return boolToInt(b.Fingerprint == i.Fingerprint) - boolToInt(a.Fingerprint == i.Fingerprint)
	})
	own := slices.ContainsFunc(jobs, func(j store.FailedJob) bool { return j.Fingerprint == i.Fingerprint })
	for n, j := range jobs {
		if n == mostJobs {
			e.More = len(jobs) - mostJobs
			break
		}
		row := jobRow(j)
		row.Open, row.Other = n == 0, own && j.Fingerprint != i.Fingerprint
		e.Jobs = append(e.Jobs, row)
	}
	return e, nil
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func runName(o store.Occurrence) string {
	name := "Run"
	if o.Number != 0 {
		name += " " + strconv.FormatInt(o.Number, 10)
	}
	if o.Attempt > 1 {
		name += ", attempt " + strconv.FormatInt(o.Attempt, 10)
	}
	return name
}

func jobRow(j store.FailedJob) web.JobRow {
	row := web.JobRow{
		ID: strconv.FormatInt(j.ID, 10), Name: j.Name, Stage: j.Stage, URL: j.URL, Headline: j.Headline, Steps: j.Steps, Rule: j.Rule,
		Files: j.Files, Tests: j.Tests, FailedTests: j.FailedTests, NoLines: j.NoLines,
	}
	if row.Name == "" {
		row.Name = "a job without a name"
	}
	if j.Category != evidence.CategoryUnknown {
		row.Category = string(j.Category)
	}
	for n, l := range j.Lines {
		if n == linesToShow {
			break
		}
		row.Lines = append(row.Lines, web.LogLine{
			Number: l.Number, Text: l.Text, Error: l.Error, New: l.New, Gap: n > 0 && l.Number > j.Lines[n-1].Number+1,
		})
		row.HasNew = row.HasNew || l.New
	}
	return row
}

// trailCommits puts the runs, newest first, into commits, oldest first.
func trailCommits(runs []store.TrailRun) []web.TrailCommit {
	var commits []web.TrailCommit
	for n := len(runs) - 1; n >= 0; n-- {
		r := runs[n]
		if n == len(runs)-1 || r.SHA != runs[n+1].SHA {
			commits = append(commits, web.TrailCommit{SHA: short(r.SHA), Title: r.CommitTitle, Author: r.Author})
		}
		last := &commits[len(commits)-1]
		last.Runs = append(last.Runs, trailRow(r))
	}
	for n := range commits {
		hit := slices.ContainsFunc(commits[n].Runs, func(r web.TrailRow) bool { return r.Tone == web.Bad })
		passed := slices.ContainsFunc(commits[n].Runs, func(r web.TrailRow) bool { return r.Tone == web.Good })
		commits[n].IsFlaky = hit && passed
	}
	return commits
}

func trailRow(r store.TrailRun) web.TrailRow {
	row := web.TrailRow{URL: r.URL, Tone: web.Quiet, Mark: "·", At: r.FinishedAt}
	what := "did not tell: it failed of something else"
	switch {
	case r.Hit:
		row.Tone, row.Mark, what = web.Bad, "✗", "failed of this"
	case r.Passed:
		row.Tone, row.Mark, what = web.Good, "✓", "passed"
	}
	row.Label = fmt.Sprintf("%s %d %s, %s", r.Workflow, r.Number, what, r.FinishedAt.UTC().Format("2006-01-02 15:04 UTC"))
	return row
}

// trailLine says what the trail shows.
func trailLine(runs []store.TrailRun) string {
	failed, passed := 0, 0
	for _, r := range runs {
		failed += boolToInt(r.Hit)
		passed += boolToInt(r.Passed && !r.Hit)
	}
	if len(runs) == 1 && failed == 1 {
		return "The only run so far failed of this."
	}
	return fmt.Sprintf("Of the last %d runs, %d failed of this and %d passed. Oldest first.", len(runs), failed, passed)
}

// entryWords are what the history says happened, and how it is meant.
var entryWords = map[string]web.State{
	"opened": {Word: "Opened", Tone: web.Bad}, "occurred": {Word: "Failed again", Tone: web.Bad},
	"stale": {Word: "Failed on an old commit", Tone: web.Quiet}, "confirmed": {Word: "Confirmed", Tone: web.Bad},
	"doubted": {Word: "Doubted", Tone: web.Warn}, "reopened": {Word: "Opened again", Tone: web.Bad},
	"resolved": {Word: "Resolved", Tone: web.Good}, "reassessed": {Word: "Judged anew", Tone: web.Quiet},
	"split": {Word: "Split off", Tone: web.Quiet}, "identified": {Word: "Identified", Tone: web.Quiet},
	"known_flaky": {Word: "Known to be flaky", Tone: web.Warn}, "acknowledged": {Word: "Acknowledged", Tone: web.Warn},
	"unacknowledged": {Word: "Let go", Tone: web.Warn}, "assigned": {Word: "Assigned", Tone: web.Quiet},
	"snoozed": {Word: "Snoozed", Tone: web.Quiet}, "unsnoozed": {Word: "Awake again", Tone: web.Warn},
	"comment": {Word: "Comment", Tone: web.Quiet}, "merged": {Word: "Merged", Tone: web.Quiet},
	store.EntryFixLinked: {Word: "Fix proposed", Tone: web.Busy}, store.EntryFixMerged: {Word: "Fix merged", Tone: web.Busy},
	store.EntryFixClosed: {Word: "Fix closed", Tone: web.Warn}, store.EntryFixFailed: {Word: "Fix did not help", Tone: web.Bad},
	store.EntryFixWithheld: {Word: "No fix proposed", Tone: web.Quiet}, store.EntryFixWithdrawn: {Word: "Fix not opened", Tone: web.Quiet},
	store.EntryBrokenBase: {Word: "Not its own", Tone: web.Quiet}, store.EntrySeenOnChange: {Word: "Seen on a change", Tone: web.Quiet},
	store.EntryTouched: {Word: "Its file was pushed", Tone: web.Quiet}, store.EntryOwner: {Word: "Owner changed", Tone: web.Quiet},
	store.SeverityChanged: {Word: "Severity changed", Tone: web.Quiet}, store.ReportRefused: {Word: "Not shown at the forge", Tone: web.Quiet},
	store.EntryOwnFailure: {Word: "Its own after all", Tone: web.Bad}, store.EntryConfirming: {Word: "Culprit tried again", Tone: web.Busy},
	store.EntryUnconfirmed: {Word: "Culprit not confirmed", Tone: web.Quiet},
	"rerun":                {Word: "Run again", Tone: web.Quiet},
}

// timeline shows the history, newest first; true when there is more of it.
func timeline(entries []store.Entry) ([]web.TimelineRow, bool) {
	cut := len(entries) > pageEntries
	if cut {
		entries = entries[len(entries)-pageEntries:]
	}
	var rows []web.TimelineRow
	for _, e := range slices.Backward(entries) {
		word, known := entryWords[e.Kind]
		if !known {
			word = web.State{Word: strings.ReplaceAll(e.Kind, "_", " "), Tone: web.Quiet}
		}
		row := web.TimelineRow{At: e.At, What: word.Word, Tone: word.Tone, Actor: e.Actor, Reason: e.Reason}
		if e.Actor == store.SystemActor { // most lines are its own
			row.Actor, row.Reason = "", capitalised(e.Reason)
		}
		rows = append(rows, row)
	}
	return rows, cut
}

// capitalised makes a sentence of a reason.
func capitalised(reason string) string {
	_, size := utf8.DecodeRuneInString(reason)
	return strings.ToUpper(reason[:size]) + reason[size:]
}
