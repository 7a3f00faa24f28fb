package handlers

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/store"
	"github.com/devflowfix/devflowfix/internal/web"
)

// What the page of an incident shows of its lists.
const (
	lastRuns    = 2  // occurrences: the newest, and one before it while that is looked into
	trailLength = 60 // runs
	pageEntries = 200
	mostJobs    = 10
	shortSHA    = 7
	linesToShow = 60 // of a log
)

// showIncidentPage shows one incident.
func (d Deps) showIncidentPage(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	id := r.PathValue("id")
	i, err := d.Store.IncidentOf(r.Context(), viewer.UserID, id, lastRuns, pageEntries+1)
	if err != nil {
		return err
	}
	trail, err := d.Store.TrailOf(r.Context(), viewer.UserID, id, trailLength)
	if err != nil {
		return err
	}
	fixes, err := d.Store.FixesOf(r.Context(), store.FixFilter{UserID: viewer.UserID, IncidentID: i.ID, Limit: mostFixes})
	if err != nil {
		return err
	}
	page := web.IncidentPage{
		Frame: d.frame(r, web.Incidents, headlineOf(i.Incident)), ConnectionID: i.ConnectionID, Forge: i.Provider.Title(),
		ConnectionPath: connectionPagePath + i.ConnectionID, Verdict: incidentVerdict(i, trail),
		Facts: incidentFacts(i, trail), Marks: incidentMarks(i.Incident), Buttons: incidentButtons(i.Incident, trail.Handling),
		Culprit: culpritPart(i.Culprit), Related: relatedRows(trail.Related), Trail: trailCommits(trail.Runs), TrailLine: trailLine(trail.Runs),
	}
	page.Row = boardRow(store.BoardRow{Incident: i.Incident, IsSnoozed: trail.Handling.SnoozedAt != nil}, "")
	if page.Evidence, err = incidentEvidence(i); err != nil {
		return err
	}
	if page.Fixes, err = fixRows(fixes, i.ID); err != nil {
		return err
	}
	page.Base, page.AlsoOn = kinRows(i.BrokenBase, i.AlsoOn)
	page.Timeline, page.Cut = timeline(i.Entries)
	if trail.Handling.MayAct {
		if page.Forms, err = d.incidentForms(r, viewer, i.Incident, trail); err != nil {
			return err
		}
	}
	return d.show(w, r, page)
}

// incidentVerdict says how an incident stands, in a sentence or two.
func incidentVerdict(i store.IncidentDetail, t store.Trail) string {
	h := t.Handling
	var said string
	switch i.Status {
	case incident.Suspected:
		if i.BrokenBase != nil {
			said = "It is not this change's own: " + i.BrokenBase.Branch + " fails of the same. Nobody is told of it."
			break
		}
		said = "It may be a flake, or nobody else's business: the next failure opens it."
	case incident.Acknowledged:
		said = h.AcknowledgedBy + " looks after it."
	case incident.Fixing:
		said = "A change that means to end it is open."
	case incident.Verifying:
		said = "A fix is merged. The next run on a commit that contains it tells whether it helped."
	case incident.Resolved:
		return resolutionSentence(i.Incident)
	default:
		said = "Nobody looks after it yet."
	}
	if h.SnoozedAt != nil {
		said += " " + snoozeSentence(h.Snooze)
	}
	return said
}

// resolutionSentence says why an incident has ended.
func resolutionSentence(i store.Incident) string {
	sentences := map[incident.Reason]string{
		incident.Green:      "Everything that failed has passed since.",
		incident.Reverted:   "The commit that broke it was reverted, and all passed.",
		incident.Flaky:      "It passed on the very commit on which it had failed.",
		incident.Superseded: "The change has a newer commit that did not fail like this.",
		incident.Manual:     "Somebody resolved it by hand.",
		incident.Duplicate:  "It is part of another incident.",
		incident.Stale:      "Nothing was heard of it for long. That is no proof that it is fixed.",
		incident.Obsolete:   "The job, the branch or the change is gone.",
		incident.BaseMended: "The branch that the change goes to failed of it, and is mended. The change needs what mended it.",
	}
	if s, known := sentences[i.Resolution]; known {
		return s
	}
	return "It has ended."
}

func snoozeSentence(s store.Snooze) string {
	by := ""
	if s.SnoozedBy != "" {
		by = " by " + s.SnoozedBy
	}
	switch {
	case s.SnoozedUntil != nil:
		return "Snoozed" + by + " until " + s.SnoozedUntil.UTC().Format("2006-01-02 15:04") + " UTC, or until it gets worse."
	case s.SnoozedCount != nil:
		return "Snoozed" + by + " until it has failed " + strconv.Itoa(*s.SnoozedCount) + " times, or gets worse."
	default:
		return "Snoozed" + by + " until a commit fails that contains " + short(s.SnoozedSHA) + ", or it gets worse."
	}
}

func short(sha string) string { return sha[:min(len(sha), shortSHA)] }

// facts gathers what there is to know, and leaves out what is not.
type facts []web.Fact

func (f *facts) add(one web.Fact) {
	if one.Text != "" || one.At != nil {
		*f = append(*f, one)
	}
}

// incidentFacts are what people want to know first of an incident, beside its
// evidence.
func incidentFacts(i store.IncidentDetail, t store.Trail) []web.Fact {
	var list facts
	owner := web.Fact{Label: "Owner", Text: i.Owner, Detail: i.OwnerRule}
	if owner.Text == "" {
		owner.Text, owner.Detail = "nobody", "No rule says whose it is."
	}
	list.add(owner)
	if t.First != nil {
		list.add(web.Fact{
			Label: "Since commit", Text: short(t.First.SHA), Code: true, Link: commitURL(t.First.URL, t.First.SHA),
			Detail: joined(" · ", t.First.CommitTitle, t.First.Author), At: &t.First.FinishedAt,
		})
		if t.Green != nil && i.Culprit.Base == "" { // the culprit's range says more
			list.add(web.Fact{
				Label: "Came in with", Text: short(t.Green.SHA) + "…" + short(t.First.SHA), Code: true, Link: compareURL(t.First.URL, t.Green.SHA, t.First.SHA),
				Detail: "What was pushed between the last green run and the first red one.",
			})
		}
	}
	list.add(web.Fact{Label: "Branch", Text: i.Branch, Code: true})
	list.add(web.Fact{Label: "Workflow", Text: i.Workflow, Detail: i.Job})
	list.add(web.Fact{Label: "Opened", At: &i.OpenedAt, Detail: episodeText(i.Episode)})
	list.add(web.Fact{Label: "Failed", Text: timesText(i.Incident.Occurrences) + ", last", At: &i.LastSeenAt})
	if i.ResolvedAt != nil {
		list.add(web.Fact{Label: "Resolved", Text: cmp.Or(short(i.ResolvedSHA), string(i.Resolution)), Code: i.ResolvedSHA != "", Link: i.ResolvedURL, At: i.ResolvedAt})
	}
	return list
}

// incidentMarks are what tells an incident from all others.
func incidentMarks(i store.Incident) []web.Fact {
	var list facts
	list.add(web.Fact{Label: "Known by", Text: i.Key, Code: true, Detail: string(i.Specificity) + " specificity"})
	list.add(web.Fact{Label: "Id", Text: i.ID, Code: true})
	return list
}

func episodeText(episode int) string {
	if episode > 1 {
		return "It has ended and come back since: this is episode " + strconv.Itoa(episode) + "."
	}
	return ""
}

func timesText(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// joined joins what is not empty.
func joined(by string, texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(t string) bool { return t == "" }), by)
}

// atForge is the page of a repository below which a run's page is, and what
// GitLab puts before the names of its pages; empty when the run's address is
// none of a forge's.
func atForge(runURL string) (repository, before string) {
	if page, _, found := strings.Cut(runURL, "/actions/runs/"); found {
		return page, "/"
	}
	if page, _, found := strings.Cut(runURL, "/-/"); found {
		return page, "/-/"
	}
	return "", ""
}

func commitURL(runURL, sha string) string {
	page, before := atForge(runURL)
	if page == "" || sha == "" {
		return ""
	}
	return page + before + "commit/" + sha
}

func compareURL(runURL, from, to string) string {
	page, before := atForge(runURL)
	if page == "" {
		return ""
	}
	return page + before + "compare/" + from + "..." + to
}

// howRelated are the words for the ways in which incidents are related.
var howRelated = map[string]string{
	store.RelatedEarlier: "It happened before", store.RelatedLater: "It happened again", store.RelatedWhole: "This is part of",
	store.RelatedDuplicate: "Part of this", store.RelatedElsewhere: "The same on another branch", store.RelatedBeside: "Also on this branch",
}

func relatedRows(list []store.Related) []web.RelatedRow {
	var rows []web.RelatedRow
	for _, o := range list {
		rows = append(rows, web.RelatedRow{
			How: howRelated[o.How], Title: o.Title, Path: incidentPagePath + o.ID, At: o.OpenedAt,
			State: incidentState(store.Incident{Status: o.Status}, false),
		})
	}
	return rows
}

// culpritWords say how sure it is which commit broke it.
var culpritWords = map[incident.CulpritState]string{
	incident.CulpritRange: "One of these commits", incident.CulpritSuspect: "A suspect", incident.CulpritProbable: "Probable",
	incident.CulpritConfirmed: "Confirmed",
}

func culpritPart(c store.CulpritRecord) web.CulpritPart {
	part := web.CulpritPart{Word: culpritWords[c.State], Reason: c.Reason, URL: c.URL}
	if c.Base != "" {
		part.Range = short(c.Base) + "…" + short(c.Head)
		if c.Commits > 0 {
			part.Range += " (" + strconv.Itoa(c.Commits) + ")"
		}
	}
	for _, s := range c.Suspects {
		part.Suspects = append(part.Suspects, web.SuspectRow{
			SHA: short(s.SHA), URL: s.URL, Title: s.Title, Author: cmp.Or(s.Author, s.AuthorName), ChangeURL: s.ChangeURL, Evidence: s.Evidence, At: s.At,
		})
	}
	return part
}
