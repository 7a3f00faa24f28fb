package web

import "time"

// ConnectionRow is a connection in a list.
type ConnectionRow struct {
	ID, Forge, FullName string
	Path                string
	State               State
	Reason              string // in a sentence
	LastDeliveryAt      *time.Time
	AutoPR              bool
	Enabled             bool
	MayChange           bool
	Next                *Action // what to do about it; nil when all is well
}

// ConnectionsPage lists connections.
type ConnectionsPage struct {
	Frame
	List []ConnectionRow
	Next string // the address of the next page; empty on the last
}

func (ConnectionsPage) template() string { return "connections.html" }

// ChoosePage lists the repositories that could be connected.
type ChoosePage struct {
	Frame
	Forges     []Tab
	Provider   string
	Forge      string
	Search     string
	Visibility []Choice
	List       []ChoiceRow
	Next       string
	Trouble    string  // why the forge shows nothing; for people
	Mend       *Action // what to do about it
	InstallURL string
}

// ChoiceRow is a repository that could be connected.
type ChoiceRow struct {
	FullName, URL  string
	Provider       string
	Private        bool
	CanConnect     bool
	ConnectionPath string // empty when it is not connected
	Why            string // why it cannot be connected
}

func (ChoosePage) template() string { return "choose.html" }

// ConnectionPage is one connection.
type ConnectionPage struct {
	Frame
	ConnectionRow
	Tabs       []Tab
	Steps      []Step // of a hook on its way; none when it has arrived
	Code       string // names the failure; empty without one
	NextTry    *time.Time
	Installed  bool // the GitHub App brings it
	HookID     int64
	HookURL    string
	Events     []string
	CreatedAt  time.Time
	RotatedAt  *time.Time
	Rotating   bool
	Severity   []SeverityRow // rules in their order; none where DevFlowFix decides
	Actions    []Action
	History    []HistoryRow
	Deliveries []DeliveryRow
}

func (ConnectionPage) template() string { return "connection.html" }

// SeverityRow is a rule of how severe incidents of a branch are.
type SeverityRow struct {
	Branch string // a pattern
	State  State
}

// HistoryRow is one thing done with a hook.
type HistoryRow struct {
	At                  time.Time
	What, Actor, Reason string
	Tone                Tone
}

// HistoryPage is the whole history of a hook.
type HistoryPage struct {
	Frame
	FullName string
	Tabs     []Tab
	List     []HistoryRow
	Next     string
}

func (HistoryPage) template() string { return "history.html" }

// DeliveryRow is a delivery in a list.
type DeliveryRow struct {
	ID, Path, Event, Action string
	Source                  string
	Outcome                 State
	At                      time.Time
	TookMS                  int64
	Error                   string
}

// DeliveriesPage lists the deliveries of a connection.
type DeliveriesPage struct {
	Frame
	FullName string
	Tabs     []Tab
	Path     string
	Event    string
	Outcomes []Choice
	Filtered bool
	List     []DeliveryRow
	Next     string
}

func (DeliveriesPage) template() string { return "deliveries.html" }

// DeliveryPage is one delivery with what it said.
type DeliveryPage struct {
	Frame
	DeliveryRow
	FullName string
	Tabs     []Tab
	Attempts int
	Payload  string // indented, without secrets; empty when it was not kept
	Cut      bool   // Payload is only its beginning
	Replay   *Action
}

func (DeliveryPage) template() string { return "delivery.html" }
