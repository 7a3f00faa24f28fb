package forgesim

import (
	"encoding/json"
	"errors"
	"net/url"
	"strconv"

	"github.com/google/uuid"
)

var errNoApp = errors.New("no GitHub App listens for it")

// appShipment is an event's delivery to the App: the same GUID as for hooks,
// and a payload that names the installation.
func (s *Sim) appShipment(ev event) (*shipment, error) {
	app := s.state.App
	if app == nil || app.WebhookURL == "" {
		return nil, errNoApp
	}
	if !ev.aboutApp && !ev.redelivery {
		if ev.repo.Provider != GitHub || ev.name == "ping" || ev.name == "meta" {
			return nil, errNoApp
		}
		in := s.installationFor(ev.repo)
		if in == nil || !in.hears(ev.name) {
			return nil, errNoApp
		}
		ev.installation = in.ID
	}
	h := s.appHook()
	sh := &shipment{Delivery: s.newDelivery(ev, h.URL), insecure: h.InsecureTLS}
	sh.Installation = ev.installation
	if ev.repo != nil {
		sh.Payload = withInstallation(ev.payload, ev.installation)
	}
	sh.body = encoded(sh.Payload, h.ContentType)
	s.githubHeaders(sh, h.ContentType, h.Secret)
	sh.Headers["X-GitHub-Hook-ID"] = strconv.FormatInt(int64(hookIDs)+app.ID, 10)
	sh.Headers["X-GitHub-Hook-Installation-Target-Type"] = "integration"
	sh.Headers["X-GitHub-Hook-Installation-Target-ID"] = strconv.FormatInt(app.ID, 10)
	return sh, nil
}

// encoded is a payload as a hook's content type wants it.
func encoded(payload []byte, contentType string) []byte {
	if contentType == "form" {
		return []byte("payload=" + url.QueryEscape(string(payload)))
	}
	return payload
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
	sh.body = encoded(ev.payload, h.ContentType)
	s.githubHeaders(sh, h.ContentType, h.Secret)
	sh.Headers["X-GitHub-Hook-ID"] = strconv.FormatInt(h.ID, 10)
	sh.Headers["X-GitHub-Hook-Installation-Target-Type"] = "repository"
	sh.Headers["X-GitHub-Hook-Installation-Target-ID"] = strconv.FormatInt(h.RepositoryID, 10)
	return sh
}

func (s *Sim) newDelivery(ev event, target string) Delivery {
	d := Delivery{
		ID: s.newID(deliveryIDs), Provider: GitHub, URL: target, GUID: ev.guid, Event: ev.name, Action: ev.action,
		Redelivery: ev.redelivery, DeliveredAt: s.now(), Payload: ev.payload,
	}
	if ev.repo != nil {
		d.Provider, d.RepositoryID, d.Repository = ev.repo.Provider, ev.repo.ID, ev.repo.FullName
	}
	return d
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
	if name != "meta" && !s.isPerson(ownerOf(r.FullName)) {
		doc["organization"] = s.githubOrganization(ownerOf(r.FullName))
	}
	if doc["sender"] == nil {
		doc["sender"] = s.githubUser(tokenOwner)
	}
	return event{repo: r, name: name, action: action, guid: uuid.NewString(), payload: encode(doc)}
}
