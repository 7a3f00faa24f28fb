package web

// LogInPage lets people in.
type LogInPage struct {
	Frame
	Ways []LogInWay
}

// LogInWay is an application by which one logs in.
type LogInWay struct{ Forge, URL string }

func (LogInPage) template() string { return "login.html" }

// HomePage tells who has logged in how things stand; with nothing connected,
// how to begin.
type HomePage struct {
	Frame
	First         *FirstSteps // nil when something is connected
	Connections   int
	Failing       int
	Paused        int
	Deliveries    int // of the last 7 days
	OpenIncidents int
	Red           []IncidentGroup // what came last; one without a title
	Attention     []ConnectionRow // what is not as it should be
}

func (HomePage) template() string { return "home.html" }

// FirstSteps say what connecting does, before it is done.
type FirstSteps struct {
	Accounts   []AccountRow
	InstallURL string // of the GitHub App; empty without one
	HookURL    string // where webhooks will send to, without the forge
}

// AccountRow is a forge, and how it stands with the viewer's authorisation
// there.
type AccountRow struct {
	Forge      string
	Provider   string
	Login      string // empty when there is none
	State      State
	Reason     string
	Scopes     []string
	Missing    []string // scopes that are needed and not held
	LogInURL   string   // empty when there is no need to
	ForgetPath string   // empty when there is nothing to forget
}

// NoticePage says something.
type NoticePage struct {
	Frame
	Text        string
	Failed      bool
	RequestID   string // for the operator; may be empty
	Link, Label string // where to go next; may be empty
}

func (NoticePage) template() string { return "notice.html" }

// ConfirmPage asks before something that is not undone easily.
type ConfirmPage struct {
	Frame
	Text     string
	Effects  []string
	Path     string // where the answer is posted to
	Label    string // of the button
	Danger   bool
	Checkbox *Checkbox // a choice that goes with it; may be nil
	Back     string
}

// Checkbox is a yes or no in a form.
type Checkbox struct {
	Name, Label string
	Checked     bool
}

func (ConfirmPage) template() string { return "confirm.html" }
