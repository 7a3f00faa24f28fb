package incident

import (
	"slices"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// ReopenWithin is how long after its end an incident is opened again when the
// same fails once more. Later it is a new incident that is linked to it.
const ReopenWithin = 5 * 24 * time.Hour

// StaleWithin is how long after its end a failure on a commit without what
// ended it is nothing new.
const StaleWithin = 14 * 24 * time.Hour

// Reason says why an incident is resolved.
type Reason string

// The reasons.
const (
	Green      Reason = "green"      // every signal has passed on the commit that failed, or on one that contains it
	Reverted   Reason = "reverted"   // the same, and the commit that passed undoes the one that failed
	Flaky      Reason = "flaky"      // every signal has passed on the very commit that failed
	Superseded Reason = "superseded" // the change has a newer commit that did not fail like this
	Manual     Reason = "manual"
	Duplicate  Reason = "duplicate"
	Stale      Reason = "stale"       // nothing was heard of its signals for long: not fixed, unknown
	Obsolete   Reason = "obsolete"    // the job, the branch or the change is gone
	BaseMended Reason = "base_mended" // it was the failure of the branch that the change goes to, which is mended
)

// OccurrenceKey identifies a failed job of a run. JobID is zero for a run whose
// jobs are not known, or that had none.
type OccurrenceKey struct {
	RunKey
	JobID int64 `json:"job_id"`
}

// Occurrence is a failed job that belongs to an incident.
type Occurrence struct {
	Position
	JobID      int64
	Signal     Signal
	SHA        string
	Title      string
	FinishedAt time.Time
	Episode    int
	// Stale occurrences came after the end, on a commit without what ended it.
	Stale bool
	// Provisional ones stand for jobs that are not known yet.
	Provisional bool
	Infra       bool
}

// Key identifies the occurrence.
func (o Occurrence) Key() OccurrenceKey { return OccurrenceKey{o.RunKey, o.JobID} }

// Resolution is the end of an incident.
type Resolution struct {
	Reason Reason
	By     *Position // the run that ended it; nil when none did
	SHA    string    // what a later failure has to contain to count as a new one
	At     time.Time
}

// Incident is what the facts make of one failure.
type Incident struct {
	Fingerprint string
	Occurrences []Occurrence // in order, at least one
	Episode     int          // from 1
	// Recurs is the incident that this one repeats after a long time.
	Recurs     *Incident
	Resolution *Resolution
	Flaky      bool // one of its signals is known to be
	Status     Status

	signals map[Signal]*signalState
}

// signalState is how far a signal of an open incident has come.
type signalState struct {
	failedSHA string
	passes    []string // commits, one for each success that counts
	green     bool
	same      bool // green on the commit that failed
}

// Derive says what the incidents of a scope are, in the order of their first
// failures, and which facts would decide what is open still.
func Derive(f Facts) ([]*Incident, Wants) {
	d := &derivation{Facts: f, last: map[string]*Incident{}, flakes: flakes{}, aliases: map[aliased]Alias{}}
	d.cuts = slices.SortedFunc(slices.Values(f.Cuts), Cut.Compare)
	for _, a := range f.Aliases {
		d.aliases[aliased{a.Fingerprint, a.Job}] = a
	}
	for _, r := range slices.SortedFunc(slices.Values(f.Runs), func(a, b Run) int { return a.Compare(b.Position) }) {
		d.cutBefore(&r.Position)
		if r.CreatedAt.Before(f.Since) {
			d.note(r)
			continue
		}
		d.run(r)
	}
	d.cutBefore(nil)
	for _, i := range d.all {
		i.Status = i.status(f.Main)
	}
	return d.all, d.wants
}

// derivation reads the runs of a scope in order.
type derivation struct {
	Facts
	cuts    []Cut // still to come
	all     []*Incident
	last    map[string]*Incident // by fingerprint
	aliases map[aliased]Alias
	flakes  flakes
	wants   Wants
}

// aliased is what an alias is about.
type aliased struct{ fingerprint, job string }

// named is the fingerprint that a failure counts as. One alias may lead to
// another; a circle of them ends.
func (d *derivation) named(fingerprint, job string, at Position) string {
	for range d.aliases {
		becomes, ok := d.alias(aliased{fingerprint, job}, at)
		if !ok {
			becomes, ok = d.alias(aliased{fingerprint, ""}, at)
		}
		if !ok {
			break
		}
		fingerprint = becomes
	}
	return fingerprint
}

func (d *derivation) alias(of aliased, at Position) (becomes string, ok bool) {
	a, ok := d.aliases[of]
	return a.Becomes, ok && a.After.Compare(at) < 0
}

func (d *derivation) run(r Run) {
	if !r.Known && r.Verdict == forge.Failed {
		d.fail(r, Failure{Fingerprint: d.provisional(r)})
		return
	}
	d.note(r)
	for _, failure := range r.Failed {
		d.fail(r, failure)
	}
	for _, job := range r.Passed {
		d.pass(r, job)
	}
	if r.Verdict == forge.Passed {
		d.pass(r, "")
		d.wantJobs(r)
	}
	if d.Change && r.Known {
		d.supersede(r)
	}
}

// note remembers what a run tells of flaky jobs.
func (d *derivation) note(r Run) {
	for _, failure := range r.Failed {
		d.flakes.note(r, Signal{r.Workflow, failure.Job}, !failure.Low && !failure.Infra, false)
	}
	for _, job := range r.Passed {
		d.flakes.note(r, Signal{r.Workflow, job}, false, true)
	}
}

// provisional is the fingerprint that a run has until its jobs are known: of
// an incident that its workflow has open already, else its own.
func (d *derivation) provisional(r Run) string {
	for _, i := range slices.Backward(d.all) {
		if i.Resolution == nil && i.concerns(r.Workflow) {
			return i.Fingerprint
		}
	}
	return RunFingerprint(r.Workflow)
}

func (i *Incident) concerns(workflow string) bool {
	for s := range i.signals {
		if s.Workflow == workflow {
			return true
		}
	}
	return false
}

// fail puts a failed job where it belongs.
func (d *derivation) fail(r Run, failure Failure) {
	fingerprint := d.named(failure.Fingerprint, failure.Job, r.Position)
	i := d.last[fingerprint]
	switch {
	case i == nil:
		i = d.open(fingerprint, nil)
	case i.Resolution == nil:
	case r.FinishedAt.Sub(i.Resolution.At) <= StaleWithin && d.contains(r.SHA, i.Resolution.SHA) == No:
		i.add(r, failure, true)
		return
	case r.FinishedAt.Sub(i.Resolution.At) > ReopenWithin:
		i = d.open(fingerprint, i)
	default:
		i.Episode++
		i.Resolution, i.signals = nil, map[Signal]*signalState{}
	}
	i.add(r, failure, false)
	signal := Signal{r.Workflow, failure.Job}
	i.Flaky = i.Flaky || d.flakes.known(signal, r.FinishedAt)
	if r.Known || len(i.signals) == 0 {
		i.signals[signal] = &signalState{failedSHA: r.SHA}
	}
}

func (d *derivation) open(fingerprint string, recurs *Incident) *Incident {
	i := &Incident{Fingerprint: fingerprint, Episode: 1, Recurs: recurs, signals: map[Signal]*signalState{}}
	d.all = append(d.all, i)
	d.last[fingerprint] = i
	return i
}

func (i *Incident) add(r Run, failure Failure, stale bool) {
	i.Occurrences = append(i.Occurrences, Occurrence{
		Position: r.Position, JobID: failure.JobID, Signal: Signal{r.Workflow, failure.Job}, SHA: r.SHA, Title: r.Title,
		FinishedAt: r.FinishedAt, Episode: i.Episode, Stale: stale, Provisional: !r.Known, Infra: failure.Infra,
	})
}

// pass lets a success count for the open incidents that wait for it. A success
// on a commit that lacks the one that failed says nothing about it.
func (d *derivation) pass(r Run, job string) {
	signal := Signal{r.Workflow, job}
	for _, i := range d.all {
		s := i.signals[signal]
		if i.Resolution != nil || s == nil || s.green || d.contains(r.SHA, s.failedSHA) != Yes {
			continue
		}
		flaky := d.flakes.known(signal, r.FinishedAt)
		i.Flaky = i.Flaky || flaky
		s.passes = append(s.passes, r.SHA)
		if s.green = enough(s.passes, flaky); s.green {
			s.same = r.SHA == s.failedSHA
			i.endIfGreen(r, d.Undone[r.SHA])
		}
	}
}

// enough reports whether the successes of a signal show that it is mended. One
// does, unless it is known to change its mind.
func enough(passes []string, flaky bool) bool {
	if !flaky {
		return len(passes) > 0
	}
	commits := slices.Compact(slices.Sorted(slices.Values(passes)))
	return len(passes) >= 3 && len(commits) >= 2
}

func (i *Incident) endIfGreen(r Run, undone string) {
	same := true
	for _, s := range i.signals {
		if !s.green {
			return
		}
		same = same && s.same
	}
	end := &Resolution{Reason: Green, By: &r.Position, SHA: r.SHA, At: r.FinishedAt}
	switch {
	case same:
		end.Reason = Flaky
	case i.revertedBy(r.Title), undone != "" && i.failedOn(undone):
		end.Reason = Reverted
	}
	i.Resolution = end
}

// revertedBy reads the title that git and both forges give to a revert.
func (i *Incident) revertedBy(title string) bool {
	// What we revert, we name without its mentions: with characters of no width.
	undone, ok := strings.CutPrefix(strings.ReplaceAll(title, "\u200b", ""), `Revert "`)
	return ok && slices.ContainsFunc(i.Occurrences, func(o Occurrence) bool {
		return o.Title != "" && strings.TrimSuffix(undone, `"`) == o.Title
	})
}

func (i *Incident) failedOn(sha string) bool {
	return slices.ContainsFunc(i.Occurrences, func(o Occurrence) bool { return o.SHA == sha })
}

// wantJobs asks for the jobs of a run that passed as a whole, where an incident
// waits to hear which of them ran.
func (d *derivation) wantJobs(r Run) {
	if !r.Known && slices.ContainsFunc(d.all, func(i *Incident) bool { return i.Resolution == nil && i.concerns(r.Workflow) }) {
		d.wants.Jobs = append(d.wants.Jobs, r.RunKey)
	}
}

// supersede ends what older commits of a change failed of and this one did not.
func (d *derivation) supersede(r Run) {
	for _, i := range d.all {
		last := i.Occurrences[len(i.Occurrences)-1]
		if i.Resolution == nil && last.SHA != r.SHA && i.onlyConcerns(r.Workflow) {
			i.Resolution = &Resolution{Reason: Superseded, By: &r.Position, SHA: r.SHA, At: r.FinishedAt}
		}
	}
}

func (i *Incident) onlyConcerns(workflow string) bool {
	for s := range i.signals {
		if s.Workflow != workflow {
			return false
		}
	}
	return true
}

// cutBefore applies the cuts that came before a run, or all that are left.
func (d *derivation) cutBefore(next *Position) {
	for len(d.cuts) > 0 && (next == nil || d.cuts[0].After.Compare(*next) < 0) {
		d.cut(d.cuts[0])
		d.cuts = d.cuts[1:]
	}
}

func (d *derivation) cut(c Cut) {
	if i := d.last[d.named(c.Fingerprint, "", c.After)]; i != nil {
		i.cut(c)
		return
	}
	for _, i := range d.all {
		if i.holds(c.Of) && d.last[i.Fingerprint] == i {
			i.cut(c)
		}
	}
}

func (i *Incident) holds(run RunKey) bool {
	return slices.ContainsFunc(i.Occurrences, func(o Occurrence) bool { return o.RunKey == run })
}

func (i *Incident) cut(c Cut) {
	switch {
	case c.Kind == CutClose && i.Resolution == nil:
		last := i.Occurrences[len(i.Occurrences)-1]
		i.Resolution = &Resolution{Reason: c.Reason, SHA: last.SHA, At: c.At}
	case c.Kind == CutReopen && i.Resolution != nil:
		i.Episode++
		i.Resolution = nil
		for _, s := range i.signals {
			*s = signalState{failedSHA: s.failedSHA}
		}
	}
}

// contains answers from what is known, and notes what is not. A commit that the
// forge did not name is taken by its place in the order.
func (d *derivation) contains(head, base string) Answer {
	if head == base || head == "" || base == "" {
		return Yes
	}
	pair := Pair{head, base}
	answer := d.Contains(pair)
	if answer == Unknown && !slices.Contains(d.wants.Contains, pair) {
		d.wants.Contains = append(d.wants.Contains, pair)
	}
	return answer
}
