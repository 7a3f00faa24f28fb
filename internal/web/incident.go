package web

import "time"

// IncidentPage is one incident.
type IncidentPage struct {
	Frame          // its title is the incident's
	Row            IncidentRow
	ConnectionID   string
	ConnectionPath string
	Forge          string
	Verdict        string // the status in a sentence
	Facts          []Fact
	Marks          []Fact // what tells it from all others
	Buttons        []Action
	Culprit        CulpritPart
	Base           *KinRow  // the incident that it really is; nil when it is its own
	AlsoOn         []KinRow // changes that fail only because of it
	Fixes          []FixRow // newest first
	Related        []RelatedRow
	Evidence       IncidentEvidence
	Trail          []TrailCommit // oldest first
	TrailLine      string        // what the trail shows, in words
	Timeline       []TimelineRow // newest first
	Cut            bool          // there is more history than is shown
	Forms          *IncidentForms
}

func (IncidentPage) template() string { return "incident.html" }

// Fact is one thing to know of an incident.
type Fact struct {
	Label, Text string
	Link        string // where the text leads; may be empty
	Detail      string
	Code        bool // the text is a name of something, not a word
	At          *time.Time
}

// KinRow is an incident of another branch that failed of the same.
type KinRow struct {
	Branch, Path string
	State        State
}

// FixRow is a change that means to end an incident.
type FixRow struct {
	Name, URL string // as the forge names it: #12; URL is empty before it is there
	Title     string
	From      string // where it comes from, in words
	State     State
	Note      string // what else to know of it; may be empty
	At        time.Time
}

// RelatedRow is another incident that has to do with one.
type RelatedRow struct {
	How, Title, Path string
	State            State
	At               time.Time
}

// IncidentEvidence is what explains the newest failure.
type IncidentEvidence struct {
	Run     string // which run it is of
	RunURL  string
	At      time.Time
	Message string // why there is nothing, or not yet; empty when there is
	Jobs    []JobRow
	More    int // how many failed jobs are not shown
}

// JobRow is a failed job with its lines.
type JobRow struct {
	ID                 string
	Name, Stage, URL   string
	Headline, Category string
	Steps              []string
	Rule               string
	Files              []string
	Tests              []string
	FailedTests        int
	Lines              []LogLine
	NoLines            string
	HasNew             bool // some lines are not in the green log
	Open               bool
	Other              bool // it failed of something else
}

// LogLine is a line of a log. A line after a gap follows lines that are not
// shown.
type LogLine struct {
	Number          int
	Text            string
	Error, New, Gap bool
}

// TrailCommit is a commit with the runs of it.
type TrailCommit struct {
	SHA, Title, Author string
	IsFlaky            bool
	Runs               []TrailRow
}

// TrailRow is a run on the strip.
type TrailRow struct {
	URL, Label string
	Tone       Tone
	Mark       string
	At         time.Time
}

// TimelineRow is a line of an incident's history.
type TimelineRow struct {
	At          time.Time
	What, Actor string
	Reason      string
	Tone        Tone
}

// IncidentForms are what may be done about an incident beside its buttons.
type IncidentForms struct {
	Path     string
	Assigned string
	Owners   []string // that are offered
	Snooze   bool     // it may be snoozed
	Times    []Choice
	Into     []Choice // what it may be merged into
	Jobs     []Choice // what may be split off
	MayLeave bool     // it is part of another one, and may leave it
}

// CulpritPart is which commit may have broken it.
type CulpritPart struct {
	Word, Reason string // Word is empty when nothing is known
	Range, URL   string // may be empty
	Suspects     []SuspectRow
}

// SuspectRow is a commit that may be the culprit.
type SuspectRow struct {
	SHA, URL, Title, Author string
	ChangeURL               string // may be empty
	Evidence                []string
	At                      time.Time
}
