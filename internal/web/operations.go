package web

import "time"

// OperationsPage shows operators how the whole stands.
type OperationsPage struct {
	Frame
	Tabs    []Tab
	Figures []Figure
	Queues  []QueueRow
	Trouble string // why the queues are not shown
}

// Figure is a number with its meaning.
type Figure struct {
	Label, Value, Detail string
	Tone                 Tone
}

// QueueRow is how much is in a queue.
type QueueRow struct {
	Name                                        string
	Pending, Active, Scheduled, Retry, Archived int
	Age                                         time.Duration
}

// AgeMS is the age in milliseconds.
func (q QueueRow) AgeMS() int64 { return q.Age.Milliseconds() }

func (OperationsPage) template() string { return "operations.html" }

// ParkedPage lists the connections whose hooks are not as they should be.
type ParkedPage struct {
	Frame
	Tabs []Tab
	List []ParkedRow
	Most int // how many are shown at the most
}

// ParkedRow is one of them.
type ParkedRow struct {
	ID, Forge, FullName, Owner, Code, Message string
	Since                                     time.Time
	NextTry                                   *time.Time
}

func (ParkedPage) template() string { return "parked.html" }

// AuditPage lists what was done.
type AuditPage struct {
	Frame
	Tabs   []Tab
	Action string
	List   []AuditRow
	Next   string
}

// AuditRow is one thing that somebody did.
type AuditRow struct {
	At                             time.Time
	Actor, Action, Target, Address string
	Detail                         string
}

func (AuditPage) template() string { return "audit.html" }

// FailingChannelsPage lists the notification channels that do not get through.
type FailingChannelsPage struct {
	Frame
	Tabs []Tab
	List []FailingChannelRow
	Most int // how many are shown at the most
}

// FailingChannelRow is one of them.
type FailingChannelRow struct {
	ID, Kind, LeadsTo, User, Error string
	State                          State
	Since                          *time.Time
	Waiting                        int
}

func (FailingChannelsPage) template() string { return "failing.html" }
