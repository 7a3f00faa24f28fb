package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	api             = "/api/v2/"
	connectionsPath = api + "repositories/connections"
	incidentsPath   = api + "incidents"
)

// Me is who the token stands for.
type Me struct {
	Name       string   `json:"name"`
	IsOperator bool     `json:"is_operator"`
	Via        string   `json:"via"`
	Scopes     []string `json:"scopes"`
}

// Me asks who the token stands for.
func (c *Client) Me(ctx context.Context) (Document[Me], error) {
	return one[Me](ctx, c, http.MethodGet, api+"auth/me", nil, nil)
}

// Stats are counts of what the user has.
type Stats struct {
	Connections    int        `json:"connections"`
	LastDeliveryAt *time.Time `json:"webhook_last_delivery_at"`
	Deliveries     int        `json:"deliveries_7d"`
	OpenIncidents  int        `json:"incidents_open"`
	Incidents      int        `json:"incidents_7d"`
}

// Stats counts the user's connections, their deliveries and incidents.
func (c *Client) Stats(ctx context.Context) (Document[Stats], error) {
	return one[Stats](ctx, c, http.MethodGet, api+"repositories/stats", nil, nil)
}

// Connection is a connected repository with its webhook.
type Connection struct {
	ID             string     `json:"id"`
	Provider       string     `json:"provider"`
	InstallationID *int64     `json:"installation_id"`
	Permission     string     `json:"permission"`
	FullName       string     `json:"repository_full_name"`
	IsEnabled      bool       `json:"is_enabled"`
	AutoPR         bool       `json:"auto_pr_enabled"`
	HookID         *int64     `json:"webhook_id"`
	HookURL        string     `json:"webhook_url"`
	HookStatus     string     `json:"webhook_status"`
	HookEvents     []string   `json:"webhook_events"`
	HookError      *HookError `json:"webhook_error"`
	LastDeliveryAt *time.Time `json:"webhook_last_delivery_at"`
	Health         string     `json:"health"`
	HealthSince    time.Time  `json:"health_since"`
	HealthReason   string     `json:"health_reason"`
	CreatedAt      time.Time  `json:"created_at"`
}

// Shown is the health to show. The server looks at health from time to time; a
// pause counts at once.
func (c Connection) Shown() string {
	if !c.IsEnabled {
		return "paused"
	}
	return c.Health
}

// HookError says why a webhook is not as it should be.
type HookError struct {
	Message string     `json:"message"`
	NextTry *time.Time `json:"next_try_at"`
}

// Connections lists the user's connections, newest first: all, or those of a
// repository by its full name.
func (c *Client) Connections(ctx context.Context, repository string, limit int) (List[Connection], error) {
	return list[Connection](ctx, c, connectionsPath, "connections", given("repository", repository), limit)
}

func connectionPath(id string) string { return connectionsPath + "/" + url.PathEscape(id) }

// Connection shows one connection.
func (c *Client) Connection(ctx context.Context, id string) (Document[Connection], error) {
	return one[Connection](ctx, c, http.MethodGet, connectionPath(id), nil, nil)
}

// NewConnection is what connects a repository. Members that are left out take
// what the API presets.
type NewConnection struct {
	Provider     string   `json:"provider"`
	FullName     string   `json:"repository_full_name"`
	AutoPR       bool     `json:"auto_pr_enabled"`
	SetupWebhook bool     `json:"setup_webhook"`
	Events       []string `json:"webhook_events,omitempty"`
}

// Connect connects a repository.
func (c *Client) Connect(ctx context.Context, n NewConnection) (Document[Connection], error) {
	return one[Connection](ctx, c, http.MethodPost, api+"repositories/connect", nil, n)
}

// Enable resumes a connection or, with false, pauses it.
func (c *Client) Enable(ctx context.Context, id string, enabled bool) (Document[Connection], error) {
	return one[Connection](ctx, c, http.MethodPatch, connectionPath(id), nil, map[string]bool{"is_enabled": enabled})
}

// Sync asks the forge how repository and webhook are, and mends what differs.
func (c *Client) Sync(ctx context.Context, id string) (Document[Connection], error) {
	return one[Connection](ctx, c, http.MethodPost, connectionPath(id)+"/sync", nil, nil)
}

// Retry tries now to bring the webhook in order.
func (c *Client) Retry(ctx context.Context, id string) (Document[Connection], error) {
	return one[Connection](ctx, c, http.MethodPost, connectionPath(id)+"/webhook/retry", nil, nil)
}

// Rotate changes the webhook's secret. With revoke the old one ends at once,
// which loses deliveries until the forge has the new one.
func (c *Client) Rotate(ctx context.Context, id string, revoke bool) (Document[Connection], error) {
	query := url.Values{}
	if revoke {
		query = url.Values{"revoke": {"true"}, "confirm": {"true"}}
	}
	return one[Connection](ctx, c, http.MethodPost, connectionPath(id)+"/webhook/rotate", query, nil)
}

// Verification says whether a delivery came back signed.
type Verification struct {
	Verified bool   `json:"verified"`
	TookMS   *int64 `json:"took_ms"`
	Message  string `json:"message"`
}

// Verify lets the forge send a delivery and waits for it.
func (c *Client) Verify(ctx context.Context, id string) (Document[Verification], error) {
	return one[Verification](ctx, c, http.MethodPost, connectionPath(id)+"/webhook/verify", nil, nil)
}

// Message is an answer that is only a sentence.
type Message struct {
	Message string `json:"message"`
}

// Disconnect removes a connection; keepHook leaves its webhook at the forge.
func (c *Client) Disconnect(ctx context.Context, id string, keepHook bool) (Document[Message], error) {
	query := url.Values{}
	if keepHook {
		query.Set("delete_webhook", "false")
	}
	return one[Message](ctx, c, http.MethodDelete, connectionPath(id), query, nil)
}

// HistoryEntry is what was done with a webhook, and why.
type HistoryEntry struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
}

// History lists what was done with a webhook, newest first.
func (c *Client) History(ctx context.Context, id string, limit int) (List[HistoryEntry], error) {
	return list[HistoryEntry](ctx, c, connectionPath(id)+"/history", "entries", url.Values{}, limit)
}

// Incident is a failure of CI.
type Incident struct {
	ID          string      `json:"id"`
	Provider    string      `json:"provider"`
	FullName    string      `json:"repository_full_name"`
	Status      string      `json:"status"`
	Severity    string      `json:"severity"`
	Title       string      `json:"title"`
	Headline    string      `json:"headline"`
	Workflow    string      `json:"workflow"`
	Branch      string      `json:"branch"`
	Owner       string      `json:"owner"`
	OwnerRule   string      `json:"owner_rule"`
	Occurrences int         `json:"occurrences"`
	OpenedAt    time.Time   `json:"opened_at"`
	LastSeenAt  time.Time   `json:"last_seen_at"`
	ResolvedAt  *time.Time  `json:"resolved_at"`
	Resolution  string      `json:"resolution"`
	AckedBy     string      `json:"acknowledged_by"`
	AssignedTo  string      `json:"assigned_to"`
	DuplicateOf *string     `json:"duplicate_of"`
	Snooze      *Snooze     `json:"snooze"`
	RunURL      string      `json:"run_url"`
	CommitSHA   string      `json:"commit_sha"`
	CommitTitle string      `json:"commit_title"`
	Author      string      `json:"author"`
	FailedJobs  []FailedJob `json:"failed_jobs"`
	Timeline    []struct {
		At     time.Time `json:"at"`
		Kind   string    `json:"kind"`
		Actor  string    `json:"actor"`
		Reason string    `json:"reason"`
	} `json:"timeline"`
}

// Snooze says what an incident waits for in quiet.
type Snooze struct {
	By    string     `json:"by"`
	Until *time.Time `json:"until"`
	Count *int       `json:"count"`
	SHA   *string    `json:"sha"`
}

// FailedJob is a job that failed, with the lines of its log that explain it.
type FailedJob struct {
	Name    string   `json:"name"`
	URL     string   `json:"url"`
	Steps   []string `json:"failed_steps"`
	Lines   []Line   `json:"lines"`
	NoLines string   `json:"no_lines_because"`
}

// Line is a line of a log.
type Line struct {
	Text string `json:"text"`
}

// IncidentFilter narrows a list of incidents; empty members do not.
type IncidentFilter struct {
	Repository, State, Status, Branch, Severity, Workflow, Category, Fingerprint, Owner, Assigned, Text string
	Since                                                                                               time.Time // opened at or after
}

func (f IncidentFilter) query() url.Values {
	query := given("repository", f.Repository, "state", f.State, "status", f.Status, "branch", f.Branch, "severity", f.Severity,
		"workflow", f.Workflow, "category", f.Category, "fingerprint", f.Fingerprint, "owner", f.Owner, "assigned", f.Assigned, "q", f.Text)
	if !f.Since.IsZero() {
		query.Set("since", f.Since.UTC().Format(time.RFC3339))
	}
	return query
}

// Incidents lists the incidents of the user's repositories, newest first.
func (c *Client) Incidents(ctx context.Context, f IncidentFilter, limit int) (List[Incident], error) {
	return list[Incident](ctx, c, incidentsPath, "incidents", f.query(), limit)
}

// ExportIncidents writes all incidents that a filter leaves, as the server
// sends them, in a format of the API: csv or jsonl. After an error what was
// written is not whole.
func (c *Client) ExportIncidents(ctx context.Context, f IncidentFilter, format string, w io.Writer) error {
	query := f.query()
	query.Set("format", format)
	response, err := c.send(ctx, http.MethodGet, incidentsPath+"/export", query, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	if kind := response.Header.Get("Content-Disposition"); !strings.HasPrefix(kind, "attachment") {
		return c.stranger()
	}
	body := &source{Reader: response.Body}
	_, err = io.Copy(w, body)
	if body.err != nil {
		return c.unreachable(ctx, body.err)
	}
	return err
}

// source remembers why it could not be read.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != io.EOF { //nolint:errorlint // by the contract of io.Reader
		s.err = err
	}
	return n, err
}

// Act is what somebody does to an incident; the members that belong to it are
// set.
type Act struct {
	Note     string     `json:"note,omitempty"`
	Assignee *string    `json:"assignee,omitempty"` // empty leaves it to the rules again
	Until    *time.Time `json:"until,omitempty"`
	Count    int        `json:"count,omitempty"` // of failed runs
	SHA      string     `json:"sha,omitempty"`
	Into     string     `json:"into,omitempty"` // the id of another incident
	Print    string     `json:"fingerprint,omitempty"`
	Jobs     []string   `json:"jobs,omitempty"` // by name
}

// Act does something to an incident, by the name that the API has for it, and
// shows the incident as it is then.
func (c *Client) Act(ctx context.Context, id, name string, a Act) (Document[Incident], error) {
	return one[Incident](ctx, c, http.MethodPost, incidentsPath+"/"+url.PathEscape(id)+"/"+name, nil, a)
}

// Incident shows one incident with its last failed run and its history.
func (c *Client) Incident(ctx context.Context, id string) (Document[Incident], error) {
	return one[Incident](ctx, c, http.MethodGet, incidentsPath+"/"+url.PathEscape(id), nil, nil)
}

// Delivery is one webhook request of a forge.
type Delivery struct {
	ID         string          `json:"id"`
	Event      string          `json:"event"`
	Action     string          `json:"action"`
	Source     string          `json:"source"`
	Outcome    string          `json:"outcome"`
	ReceivedAt time.Time       `json:"received_at"`
	DurationMS int64           `json:"duration_ms"`
	Attempts   int             `json:"attempts"`
	Error      string          `json:"error"`
	Payload    json.RawMessage `json:"payload"`
}

// DeliveryFilter narrows a list of deliveries; empty members do not.
type DeliveryFilter struct{ Event, Outcome string }

// Deliveries lists the deliveries of a connection, newest first.
func (c *Client) Deliveries(ctx context.Context, connection string, f DeliveryFilter, limit int) (List[Delivery], error) {
	return list[Delivery](ctx, c, connectionPath(connection)+"/deliveries", "deliveries", given("event", f.Event, "outcome", f.Outcome), limit)
}

func deliveryPath(connection, id string) string {
	return connectionPath(connection) + "/deliveries/" + url.PathEscape(id)
}

// Delivery shows a delivery with its payload.
func (c *Client) Delivery(ctx context.Context, connection, id string) (Document[Delivery], error) {
	return one[Delivery](ctx, c, http.MethodGet, deliveryPath(connection, id), nil, nil)
}

// Replay applies a delivery again.
func (c *Client) Replay(ctx context.Context, connection, id string) (Document[Message], error) {
	return one[Message](ctx, c, http.MethodPost, deliveryPath(connection, id)+"/replay", nil, nil)
}

// given are query parameters, as names and values, without the empty ones.
func given(pairs ...string) url.Values {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	return query
}
