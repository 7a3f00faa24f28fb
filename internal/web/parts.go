package web

import "time"

// State is a condition in a word, with the tone in which it is shown.
type State struct {
	Word string
	Tone Tone
}

// Tone is how a state is meant.
type Tone string

// The tones.
const (
	Good  Tone = "good"
	Warn  Tone = "warn"
	Bad   Tone = "bad"
	Quiet Tone = "quiet"
	Busy  Tone = "busy"
)

// Action is a button: a form of its own that is posted, or a link.
type Action struct {
	ID     string // of the button, so that it keeps the focus when its page changes
	Label  string
	Path   string
	Link   bool // a page to go to, instead of a form
	Danger bool
	Fields []Field
}

// Field is a hidden value of a form.
type Field struct{ Name, Value string }

// Tab is a page beside others of the same subject.
type Tab struct {
	Label, Path string
	Current     bool
}

// Step is a part of something that happens by itself.
type Step struct {
	Label  string
	Detail string
	State  StepState
	At     *time.Time
}

// StepState is how far a step is.
type StepState string

// The states of a step.
const (
	StepDone StepState = "done"
	StepNow  StepState = "now"
	StepBad  StepState = "bad"
	StepTodo StepState = "todo"
)

// Choice is an option of a select.
type Choice struct {
	Value, Label string
	Selected     bool
}
