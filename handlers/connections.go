package handlers

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/hook"
	"github.com/devflowfix/devflowfix/internal/incident"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

const connectionsPath = "/api/v2/repositories/connections"

// connectionRoutes are for users who connect repositories.
func (d Deps) connectionRoutes(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "connect-repository", Method: http.MethodPost, Path: "/api/v2/repositories/connect",
		Summary: "Connect a repository", Tags: []string{"connections"}, DefaultStatus: http.StatusCreated,
		Description: "Makes the connection and its webhook. The answer waits up to 3 seconds for the webhook; after that it says pending.",
		Errors:      slices.Concat(everyRoute, bodyRoute, []int{http.StatusConflict}),
	}, call(d.connect))
	huma.Register(api, huma.Operation{
		OperationID: "list-connections", Method: http.MethodGet, Path: connectionsPath,
		Summary: "List your connections, newest first", Tags: []string{"connections"},
		Errors: everyRoute,
	}, call(d.listConnections))
	huma.Register(api, huma.Operation{
		OperationID: "show-connection", Method: http.MethodGet, Path: connectionsPath + "/{id}",
		Summary: "Show a connection", Tags: []string{"connections"},
		Errors: slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.showConnection))
	huma.Register(api, huma.Operation{
		OperationID: "change-connection", Method: http.MethodPatch, Path: connectionsPath + "/{id}",
		Summary: "Pause, resume or change a connection", Tags: []string{"connections"},
		Errors: slices.Concat(everyRoute, bodyRoute, []int{http.StatusNotFound}),
	}, call(d.changeConnection))
	huma.Register(api, huma.Operation{
		OperationID: "disconnect-repository", Method: http.MethodDelete, Path: connectionsPath + "/{id}",
		Summary: "Disconnect a repository", Tags: []string{"connections"},
		Description: "Removes the connection with its secrets and incidents. It succeeds also when the forge does not delete the webhook; deletion is then tried again later. A repository that the GitHub App brings is removed from the App's installation instead.",
		Errors:      slices.Concat(everyRoute, []int{http.StatusNotFound, http.StatusConflict}),
	}, call(d.disconnect))
}

// connection is a connection as the API shows it.
type connection struct {
	ID             string           `json:"id" example:"rpc_06e2v0w9k4m7x3t5q1n8b2c6d0"`
	Provider       forge.Provider   `json:"provider" enum:"github,gitlab"`
	InstallationID *int64           `json:"installation_id" doc:"The installation of the GitHub App that brings the repository; null for a connection that you made."`
	Permission     forge.Permission `json:"permission" enum:"read,write,admin" doc:"What you may do: change the connection with admin, else look. By the GitHub App it is what you may do in the repository."`
	FullName       string           `json:"repository_full_name" example:"owner/repo"`
	IsEnabled      bool             `json:"is_enabled" doc:"False while the connection is paused: deliveries are answered and ignored."`
	AutoPR         bool             `json:"auto_pr_enabled"`
	HookID         *int64           `json:"webhook_id" doc:"The forge's id of the webhook; null until there is one."`
	HookURL        string           `json:"webhook_url"`
	HookStatus     store.HookStatus `json:"webhook_status" enum:"pending,active,inactive,failed"`
	HookEvents     []string         `json:"webhook_events" nullable:"false"`
	HookError      *hookError       `json:"webhook_error" doc:"Why the webhook is not as it should be; null when all is well."`
	HookCreatedAt  *time.Time       `json:"webhook_created_at"`
	LastDeliveryAt *time.Time       `json:"webhook_last_delivery_at" doc:"When the webhook last brought a delivery that verified."`
	Health         hook.Health      `json:"health" enum:"healthy,unverified,silent,failing,paused"`
	HealthSince    time.Time        `json:"health_since"`
	HealthReason   string           `json:"health_reason"`
	CreatedAt      time.Time        `json:"created_at"`
	Severity       []severityRule   `json:"incident_severity" nullable:"false" doc:"How severe incidents are by their branch; the first that fits decides, and where none does, DevFlowFix."`
}

// severityRule fixes the severity of incidents on some branches.
type severityRule struct {
	Branch   string            `json:"branch" minLength:"1" maxLength:"255" example:"release/*" doc:"A name, where * stands for any text, slashes too. It does not fit branches of forks."`
	Severity incident.Severity `json:"severity" enum:"critical,high,medium,low"`
}

// TransformSchema says that webhook_error may be null.
func (connection) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	return mayBeNull(r, s, "webhook_error")
}

// mayBeNull lets a member that is an object be null as well, which huma cannot
// say of a reference.
func mayBeNull(r huma.Registry, s *huma.Schema, member string) *huma.Schema {
	object := *r.SchemaFromRef(s.Properties[member].Ref)
	object.Nullable, object.Description = true, s.Properties[member].Description
	s.Properties[member] = &object
	return s
}

type hookError struct {
	Code    string     `json:"code"`
	Message string     `json:"message" doc:"What happened and what to do."`
	NextTry *time.Time `json:"next_try_at" doc:"When it is tried again by itself; null when it is not."`
}

func showConnection(c store.Connection) connection {
	out := connection{
		ID: c.ID, Provider: c.Provider, InstallationID: c.InstallationID, Permission: c.Permission, FullName: c.FullName, IsEnabled: c.IsEnabled, AutoPR: c.AutoPR,
		HookID: c.HookID, HookURL: c.HookURL, HookStatus: c.HookStatus, HookEvents: c.HookEvents,
		HookCreatedAt: utc(c.HookCreatedAt), LastDeliveryAt: utc(c.LastDeliveryAt), CreatedAt: c.CreatedAt.UTC(),
	}
	out.Health, out.HealthSince, out.HealthReason = c.Health, c.HealthSince.UTC(), c.HealthReason
	out.Severity = []severityRule{}
	for _, r := range c.SeverityRules() {
		out.Severity = append(out.Severity, severityRule(r))
	}
	if e := c.HookError(); e != nil {
		out.HookError = &hookError{Code: e.Code, Message: e.Message, NextTry: utc(e.NextTry)}
	}
	return out
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := t.UTC()
	return &u
}

type connectInput struct {
	Body struct {
		FullName     string         `json:"repository_full_name" minLength:"3" maxLength:"500" doc:"owner/repo; GitLab also group/sub/project." example:"owner/repo"`
		Provider     forge.Provider `json:"provider,omitempty" enum:"github,gitlab" default:"github"`
		AutoPR       bool           `json:"auto_pr_enabled,omitempty"`
		SetupWebhook *bool          `json:"setup_webhook,omitempty" default:"true" doc:"False when deliveries come from the GitHub App or from a webhook that you keep by hand."`
		Events       []string       `json:"webhook_events,omitempty" minItems:"1" maxItems:"20" nullable:"false" doc:"In the forge's own names. GitHub: workflow_run, pull_request, push, …; GitLab: pipeline_events, merge_requests_events, push_events, …"`
	}
}

type connectOutput struct {
	Location string `header:"Location" doc:"Where the connection is."`
	Body     connection
}

type connectionOutput struct{ Body connection }

// hookWait is how long an API call waits for the forge and for a worker to
// make or delete a hook, all in all, and hookLook how often it looks.
const (
	hookWait = 3 * time.Second
	hookLook = 25 * time.Millisecond
)

func (d Deps) connect(ctx context.Context, caller auth.Identity, in *connectInput) (*connectOutput, error) {
	waiting, cancel := context.WithTimeout(ctx, hookWait)
	defer cancel()
	c, err := d.makeConnection(ctx, waiting, caller, in)
	if err != nil {
		return nil, err
	}
	c = d.awaitHook(waiting, caller, c)
	return &connectOutput{Location: connectionsPath + "/" + c.ID, Body: showConnection(c)}, nil
}

// makeConnection makes the connection; its hook comes later. It asks the forge
// for the repository until waiting ends.
func (d Deps) makeConnection(ctx, waiting context.Context, caller auth.Identity, in *connectInput) (store.Connection, error) {
	b := in.Body
	events, err := d.hookEvents(b.Provider, b.Events)
	if err != nil {
		return store.Connection{}, err
	}
	if err := checkFullName(b.Provider, b.FullName); err != nil {
		return store.Connection{}, err
	}
	wanted := forge.Repository{Provider: b.Provider, FullName: b.FullName}
	if id, err := d.Store.ConnectionID(ctx, caller.UserID, wanted); err == nil {
		return store.Connection{}, d.conflict(ctx, id)
	} else if !fault.Is(err, fault.NotFound) {
		return store.Connection{}, err
	}
	repo, err := d.resolve(waiting, caller, wanted)
	if err != nil {
		return store.Connection{}, err
	}
	c, tasks, err := d.Store.Connect(ctx, store.NewConnection{
		UserID: caller.UserID, Repository: repo, AutoPR: b.AutoPR, SetupWebhook: b.SetupWebhook == nil || *b.SetupWebhook, Events: events,
		HookURL: d.BaseURL + WebhookPath(b.Provider), Secret: secret.Random(),
	})
	if fault.Is(err, fault.Conflict) {
		return store.Connection{}, d.alreadyConnected(ctx, caller, repo, err)
	}
	if err != nil {
		return store.Connection{}, err
	}
	d.Relay.Send(ctx, tasks)
	d.audit(ctx, caller, "connection.create", c.ID, map[string]any{"repository": c.FullName, "provider": c.Provider})
	return c, nil
}

// resolve asks the forge which repository the name means. A forge that does
// not answer now does not stop the user: a worker asks again.
func (d Deps) resolve(ctx context.Context, caller auth.Identity, repo forge.Repository) (forge.Repository, error) {
	f, err := d.Access.Open(ctx, auth.For{Provider: repo.Provider, UserID: caller.UserID})
	var found forge.Repository
	if err == nil {
		found, err = f.Repository(ctx, repo.FullName)
	}
	switch verdict, _ := fault.Decide(err); {
	case err == nil && found.Archived:
		return repo, unusable(fault.New(fault.Invalid, "The repository is archived. Unarchive it first; nothing runs in it."))
	case err == nil:
		return found, nil
	case verdict == fault.Retry:
		return repo, nil
	default:
		return repo, unusable(err)
	}
}

// unusable blames the repository's name for what a forge says of it.
func unusable(err error) error {
	return &fault.Error{Kind: fault.Invalid, Code: fault.Code(err), Field: "body.repository_full_name", Sentence: fault.Sentence(err), Cause: err}
}

func (d Deps) alreadyConnected(ctx context.Context, caller auth.Identity, repo forge.Repository, cause error) error {
	id, err := d.Store.ConnectionID(ctx, caller.UserID, repo)
	if err != nil {
		return cause
	}
	return d.conflict(ctx, id)
}

func (d Deps) conflict(ctx context.Context, id string) error {
	p := problemFor(ctx, http.StatusConflict, &fault.Error{Kind: fault.Conflict, Code: "already_connected",
		Sentence: "You have connected this repository already, as " + id + ". Change that connection, or disconnect it first."})
	p.ConnectionID = id
	return p
}

// awaitHook waits until the worker has made the hook or knows why not, or ctx
// ends.
func (d Deps) awaitHook(ctx context.Context, caller auth.Identity, c store.Connection) store.Connection {
	poll(ctx, func() bool {
		if c.HookStatus != store.HookPending || c.HookErrorJSON != nil {
			return true
		}
		if now, err := d.Store.ConnectionOf(ctx, caller.UserID, c.ID); err == nil {
			c = now
		}
		return false
	})
	return c
}

// poll calls done until it returns true or ctx ends.
func poll(ctx context.Context, done func() bool) {
	look := time.NewTicker(hookLook)
	defer look.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// hookEvents checks the events that a user wants; none are the forge's usual.
func (d Deps) hookEvents(p forge.Provider, wanted []string) ([]string, error) {
	known := d.Events[p]
	if wanted == nil {
		return known.Default, nil
	}
	var events []string
	for _, e := range wanted {
		if !slices.Contains(known.Known, e) {
			return nil, &fault.Error{Kind: fault.Invalid, Field: "body.webhook_events", Sentence: unknownEvent(p, known.Known)}
		}
		if !slices.Contains(events, e) {
			events = append(events, e)
		}
	}
	return events, nil
}

type connectionPath struct {
	ID string `path:"id" maxLength:"64"`
}

type listConnectionsInput struct {
	Repository string `query:"repository" maxLength:"500" doc:"Only this repository, by its full name."`
	Page
}

type connectionPage struct {
	Body struct {
		Connections []connection `json:"connections" nullable:"false"`
		NextCursor  *string      `json:"next_cursor" doc:"Null on the last page."`
	}
}

func (d Deps) listConnections(ctx context.Context, caller auth.Identity, in *listConnectionsInput) (*connectionPage, error) {
	before, err := readCursor(in.Cursor, 1)
	if err != nil {
		return nil, err
	}
	list, err := d.Store.ConnectionsOf(ctx, caller.UserID, in.Repository, before[0], in.Limit+1)
	if err != nil {
		return nil, err
	}
	var page connectionPage
	page.Body.Connections, page.Body.NextCursor = pageOf(list, in.Limit, showConnection, func(c store.Connection) *string { return newCursor(c.ID) })
	return &page, nil
}

func (d Deps) showConnection(ctx context.Context, caller auth.Identity, in *connectionPath) (*connectionOutput, error) {
	c, err := d.Store.ConnectionOf(ctx, caller.UserID, in.ID)
	if err != nil {
		return nil, err
	}
	return &connectionOutput{Body: showConnection(c)}, nil
}

type changeInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		IsEnabled *bool           `json:"is_enabled,omitempty"`
		AutoPR    *bool           `json:"auto_pr_enabled,omitempty"`
		Events    []string        `json:"webhook_events,omitempty" minItems:"1" maxItems:"20" nullable:"false"`
		Severity  *[]severityRule `json:"incident_severity,omitempty" maxItems:"50" nullable:"false" doc:"Takes the place of all that there are. What is open is graded again."`
	}
}

func (d Deps) changeConnection(ctx context.Context, caller auth.Identity, in *changeInput) (*connectionOutput, error) {
	c, err := d.Store.ConnectionOf(ctx, caller.UserID, in.ID)
	if err != nil {
		return nil, err
	}
	patch := store.ConnectionPatch{IsEnabled: in.Body.IsEnabled, AutoPR: in.Body.AutoPR}
	if in.Body.Events != nil {
		if patch.Events, err = d.hookEvents(c.Provider, in.Body.Events); err != nil {
			return nil, err
		}
	}
	if in.Body.Severity != nil {
		patch.Severity = []incident.SeverityRule{}
		for _, r := range *in.Body.Severity {
			patch.Severity = append(patch.Severity, incident.SeverityRule(r))
		}
	}
	c, tasks, err := d.Store.PatchConnection(ctx, caller.UserID, in.ID, patch)
	if err != nil {
		return nil, err
	}
	d.Relay.Send(ctx, tasks)
	d.audit(ctx, caller, changeName(in.Body.IsEnabled), c.ID, map[string]any{"is_enabled": c.IsEnabled, "auto_pr_enabled": c.AutoPR, "webhook_events": c.HookEvents, "incident_severity": c.SeverityRules()})
	if c.HookStatus == store.HookPending {
		waiting, cancel := context.WithTimeout(ctx, hookWait)
		defer cancel()
		c = d.awaitHook(waiting, caller, c)
	}
	return &connectionOutput{Body: showConnection(c)}, nil
}

// changeName is what the audit calls a change.
func changeName(enabled *bool) string {
	switch {
	case enabled == nil:
		return "connection.change"
	case *enabled:
		return "connection.resume"
	default:
		return "connection.pause"
	}
}
