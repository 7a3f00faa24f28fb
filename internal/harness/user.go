package harness

import (
	"net/http"
	"net/url"
	"time"

	"github.com/devflowfix/devflowfix/internal/auth"
)

// User is somebody with an API token.
type User struct {
	w     *World
	ID    string
	Token string
}

// User makes a user.
func (w *World) User(name string) *User {
	w.tb.Helper()
	u, err := w.App.Store.EnsureUser(w.tb.Context(), name, false)
	if err != nil {
		w.tb.Fatal(err)
	}
	token, err := w.App.Tokens.Issue(auth.Identity{UserID: u.ID, Name: u.Name}, time.Hour)
	if err != nil {
		w.tb.Fatal(err)
	}
	return &User{w: w, ID: u.ID, Token: token}
}

// Connection is a connection as the API shows it.
type Connection struct {
	Provider       string     `json:"provider"`
	ID             string     `json:"id"`
	FullName       string     `json:"repository_full_name"`
	InstallationID *int64     `json:"installation_id"`
	Permission     string     `json:"permission"`
	IsEnabled      bool       `json:"is_enabled"`
	HookID         int64      `json:"webhook_id"`
	HookURL        string     `json:"webhook_url"`
	HookStatus     string     `json:"webhook_status"`
	HookEvents     []string   `json:"webhook_events"`
	LastDeliveryAt *time.Time `json:"webhook_last_delivery_at"`
	Health         string     `json:"health"`
	HealthReason   string     `json:"health_reason"`
	HookError      *struct {
		Code    string     `json:"code"`
		Message string     `json:"message"`
		NextTry *time.Time `json:"next_try_at"`
	} `json:"webhook_error"`
}

var events = map[string][]string{
	"github": {"workflow_run", "pull_request", "push"},
	"gitlab": {"pipeline_events", "merge_requests_events", "push_events"},
}

// Connect connects a repository and waits for its hook.
func (u *User) Connect(provider, repository string) Connection {
	u.w.tb.Helper()
	var c Connection
	status := u.Call(http.MethodPost, "/api/v2/repositories/connect", map[string]any{
		"provider": provider, "repository_full_name": repository, "auto_pr_enabled": true, "setup_webhook": true,
		"webhook_events": events[provider],
	}, &c)
	if status != http.StatusCreated {
		u.w.tb.Fatalf("connect %s: %d, %+v", repository, status, c)
	}
	return u.whenActive(c)
}

// whenActive waits for the hook of a new connection. The answer that made it says
// pending when the worker took longer than a user is kept waiting.
func (u *User) whenActive(c Connection) Connection {
	u.w.tb.Helper()
	if c.HookStatus == "active" {
		return c
	}
	u.w.Eventually("the hook of "+c.FullName, func() bool {
		c = u.Connection(c.ID)
		return c.HookStatus == "active"
	})
	return c
}

// Connection reads a connection.
func (u *User) Connection(id string) Connection {
	u.w.tb.Helper()
	var c Connection
	if status := u.Call(http.MethodGet, "/api/v2/repositories/connections/"+id, nil, &c); status != http.StatusOK {
		u.w.tb.Fatalf("connection %s: %d", id, status)
	}
	return c
}

// Change changes a connection and returns what it is then.
func (u *User) Change(id string, change map[string]any) Connection {
	u.w.tb.Helper()
	var c Connection
	if status := u.Call(http.MethodPatch, "/api/v2/repositories/connections/"+id, change, &c); status != http.StatusOK {
		u.w.tb.Fatalf("change %s: %d", id, status)
	}
	return c
}

// Incident is an incident as the API shows it.
type Incident struct {
	ID          string `json:"id"`
	Status      string `json:"status"`
	Severity    string `json:"severity"`
	Headline    string `json:"headline"`
	Branch      string `json:"branch"`
	Owner       string `json:"owner"`
	OwnerRule   string `json:"owner_rule"`
	Occurrences int    `json:"occurrences"`
	RunURL      string `json:"run_url"`
	SHA         string `json:"commit_sha"`
	Author      string `json:"author"`
	FailedJobs  []struct {
		Name  string   `json:"name"`
		Steps []string `json:"failed_steps"`
		Lines []struct {
			Text  string `json:"text"`
			Error bool   `json:"error"`
		} `json:"lines"`
	} `json:"failed_jobs"`
	Culprit struct {
		State    string `json:"state"`
		Reason   string `json:"reason"`
		Base     string `json:"base_sha"`
		Head     string `json:"head_sha"`
		URL      string `json:"compare_url"`
		Commits  int    `json:"commits"`
		Author   string `json:"author"`
		Suspects []struct {
			SHA      string   `json:"sha"`
			Evidence []string `json:"evidence"`
		} `json:"suspects"`
	} `json:"culprit"`
	Timeline []struct {
		Kind   string `json:"kind"`
		Reason string `json:"reason"`
	} `json:"timeline"`
}

// Incidents lists the incidents of a repository, newest first.
func (u *User) Incidents(repository string) []Incident {
	u.w.tb.Helper()
	return u.incidents("repository=" + url.QueryEscape(repository))
}

// IncidentsOn lists the incidents of one branch of a repository.
func (u *User) IncidentsOn(repository, branch string) []Incident {
	u.w.tb.Helper()
	return u.incidents("repository=" + url.QueryEscape(repository) + "&branch=" + url.QueryEscape(branch))
}

func (u *User) incidents(filter string) []Incident {
	u.w.tb.Helper()
	var page struct {
		Incidents []Incident `json:"incidents"`
	}
	path := "/api/v2/incidents?limit=100&" + filter
	if status := u.Call(http.MethodGet, path, nil, &page); status != http.StatusOK {
		u.w.tb.Fatalf("incidents: %d", status)
	}
	return page.Incidents
}

// Incident reads one incident with its history.
func (u *User) Incident(id string) Incident {
	u.w.tb.Helper()
	var i Incident
	if status := u.Call(http.MethodGet, "/api/v2/incidents/"+id, nil, &i); status != http.StatusOK {
		u.w.tb.Fatalf("incident %s: %d", id, status)
	}
	return i
}
