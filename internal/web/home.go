package web

// HomePage greets who has logged in, or lets them in.
type HomePage struct {
	Name          string // empty when nobody has logged in
	Accounts      []HomeAccount
	Connections   int
	Failing       int
	OpenIncidents int
	InstallURL    string // of the GitHub App; empty without one
}

// HomeAccount is a forge at which one can log in.
type HomeAccount struct {
	Forge    string
	Login    string
	Trouble  string
	LogInURL string // empty when there is no need to
}

func (HomePage) template() string { return "home.html" }
