package forgesim

import (
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"

	"github.com/google/uuid"
)

// App is a GitHub App. Its one webhook hears the events of all repositories
// that it is installed on.
type App struct {
	ID            int64
	WebhookURL    string // empty: the webhook is not active
	WebhookSecret string
	// Events are what the App listens for; empty means everything.
	Events []string
	// Installations maps an installation's id to the account (owner) it is on.
	Installations map[int64]string
	// Token is what an installation's access token looks like; empty means
	// that the simulator makes them up.
	Token string
}

// SetApp registers the GitHub App; nil removes it.
func (s *Sim) SetApp(app *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.app = app
}

// installation finds the App's installation on the owner of a repository.
func (a *App) installation(r *Repository) (int64, bool) {
	for id, account := range a.Installations {
		if account == ownerOf(r.FullName) {
			return id, true
		}
	}
	return 0, false
}

var errNoApp = errors.New("no GitHub App listens for it")

// appShipment is an event's delivery to the App: the same GUID as for hooks,
// and a payload that names the installation.
func (s *Sim) appShipment(ev event) (*shipment, error) {
	if s.app == nil || s.app.WebhookURL == "" || ev.repo.Provider != GitHub || ev.name == "ping" || ev.name == "meta" {
		return nil, errNoApp
	}
	id, ok := s.app.installation(ev.repo)
	if !ok || len(s.app.Events) > 0 && !slices.Contains(s.app.Events, ev.name) {
		return nil, errNoApp
	}
	sh := &shipment{Delivery: s.newDelivery(ev, s.app.WebhookURL)}
	sh.Installation = id
	sh.Payload = withInstallation(ev.payload, id)
	sh.body = sh.Payload
	s.githubHeaders(sh, "json", s.app.WebhookSecret)
	sh.Headers["X-GitHub-Hook-ID"] = strconv.FormatInt(int64(hookIDs)+s.app.ID, 10)
	sh.Headers["X-GitHub-Hook-Installation-Target-Type"] = "integration"
	sh.Headers["X-GitHub-Hook-Installation-Target-ID"] = strconv.FormatInt(s.app.ID, 10)
	return sh, nil
}

// withInstallation adds the installation to a payload, unless it is there.
func withInstallation(payload []byte, id int64) []byte {
	var doc map[string]json.RawMessage
	if json.Unmarshal(payload, &doc) != nil || doc["installation"] != nil {
		return payload
	}
	doc["installation"] = encode(object{"id": id, "node_id": nodeID("Installation", id)})
	return encode(doc)
}

// githubShipment is an event's delivery to a hook.
func (s *Sim) githubShipment(h *Hook, ev event) *shipment {
	sh := &shipment{Delivery: s.newDelivery(ev, h.URL), insecure: h.InsecureTLS}
	sh.HookID = h.ID
	sh.body = ev.payload
	if h.ContentType == "form" {
		sh.body = []byte("payload=" + url.QueryEscape(string(ev.payload)))
	}
	s.githubHeaders(sh, h.ContentType, h.Secret)
	sh.Headers["X-GitHub-Hook-ID"] = strconv.FormatInt(h.ID, 10)
	sh.Headers["X-GitHub-Hook-Installation-Target-Type"] = "repository"
	sh.Headers["X-GitHub-Hook-Installation-Target-ID"] = strconv.FormatInt(h.RepositoryID, 10)
	return sh
}

func (s *Sim) newDelivery(ev event, target string) Delivery {
	return Delivery{
		ID: s.newID(deliveryIDs), Provider: ev.repo.Provider, RepositoryID: ev.repo.ID, Repository: ev.repo.FullName,
		URL: target, GUID: ev.guid, Event: ev.name, Action: ev.action, Redelivery: ev.redelivery,
		DeliveredAt: s.now(), Payload: ev.payload,
	}
}

func (s *Sim) githubHeaders(sh *shipment, contentType, secret string) {
	sh.Headers = map[string]string{
		"Accept":            "*/*",
		"Content-Type":      "application/json",
		"User-Agent":        "GitHub-Hookshot/8f2c1d7",
		"X-GitHub-Event":    sh.Event,
		"X-GitHub-Delivery": sh.GUID,
	}
	if contentType == "form" {
		sh.Headers["Content-Type"] = "application/x-www-form-urlencoded"
	}
	if secret != "" {
		sh.Headers["X-Hub-Signature"] = githubSignature1(secret, sh.body)
		sh.Headers["X-Hub-Signature-256"] = githubSignature256(secret, sh.body)
	}
}

// lastResponse is what a hook shows of a delivery.
func lastResponse(d *Delivery) LastResponse {
	switch {
	case d.OK():
		return LastResponse{Code: d.StatusCode, Status: "active", Message: "OK"}
	case d.StatusCode != 0:
		return LastResponse{Code: d.StatusCode, Status: "misconfigured", Message: d.Status}
	case d.Status == "timed out":
		return LastResponse{Code: 504, Status: "timeout", Message: d.Status}
	}
	return LastResponse{Code: 502, Status: "connection_error", Message: d.Status}
}

// pingEvent is what a new hook is greeted with.
func (s *Sim) pingEvent(r *Repository, h *Hook) event {
	doc := object{
		"zen": "Anything added dilutes everything else.", "hook_id": h.ID, "hook": s.githubHook(r, h),
	}
	return s.githubEvent(r, "ping", "", doc)
}

// metaEvent tells a hook that it was deleted.
func (s *Sim) metaEvent(r *Repository, h *Hook) event {
	hook := s.githubHook(r, h)
	for _, k := range []string{"url", "test_url", "ping_url", "deliveries_url", "last_response"} {
		delete(hook, k)
	}
	return s.githubEvent(r, "meta", "deleted", object{"hook_id": h.ID, "hook": hook})
}

// githubEvent completes a payload with what all events of a repository have.
func (s *Sim) githubEvent(r *Repository, name, action string, doc object) event {
	if action != "" {
		doc["action"] = action
	}
	doc["repository"] = s.githubRepository(r)
	if name != "meta" {
		doc["organization"] = s.githubOrganization(ownerOf(r.FullName))
	}
	if doc["sender"] == nil {
		doc["sender"] = s.githubUser(tokenOwner)
	}
	return event{repo: r, name: name, action: action, guid: uuid.NewString(), payload: encode(doc)}
}
