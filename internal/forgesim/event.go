package forgesim

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// event is something that happened and that hooks may want to hear of.
type event struct {
	repo       *Repository // nil when it is about the App itself
	name       string      // X-GitHub-Event or X-Gitlab-Event
	trigger    string      // GitLab: the hook's switch for it, pipeline_events
	action     string
	guid       string // GitHub: shared by all hooks
	chain      string // GitLab: X-Gitlab-Event-UUID, shared by all hooks
	payload    []byte
	redelivery bool

	// The rest is for the GitHub App's hook.
	aboutApp     bool  // every App hears of it
	installation int64 // zero: the one that reaches the repository
}

// shipments makes a delivery for every hook that wants to hear of the event.
// Archived GitLab projects fire no hooks.
func (s *Sim) shipments(ev event) []*shipment {
	var all []*shipment
	for _, h := range s.hooksOf(ev.repo) {
		switch {
		case h.Provider == GitHub && h.Active && (slices.Contains(h.Events, ev.name) || slices.Contains(h.Events, "*")):
			all = append(all, s.githubShipment(h, ev))
		case h.Provider == GitLab && !ev.repo.Archived && s.alertStatus(h) == "executable" && slices.Contains(h.Events, ev.trigger):
			all = append(all, s.gitlabShipment(h, ev))
		}
	}
	if sh, err := s.appShipment(ev); err == nil {
		all = append(all, sh)
	}
	return all
}

// EventSpec is an event of the caller's making.
type EventSpec struct {
	Provider   string `json:"provider"`
	Repository string `json:"repository"`
	// Event is X-GitHub-Event or X-Gitlab-Event: pull_request, Push Hook, …
	Event string `json:"event"`
	// Payload is sent as it is, so it should name the repository's real id.
	Payload json.RawMessage `json:"payload"`
}

// gitlabTriggers names the switch of each kind of GitLab delivery.
var gitlabTriggers = map[string]string{
	"Push Hook":          "push_events",
	"Tag Push Hook":      "tag_push_events",
	"Merge Request Hook": "merge_requests_events",
	"Pipeline Hook":      "pipeline_events",
	"Job Hook":           "job_events",
	"Issue Hook":         "issues_events",
	"Note Hook":          "note_events",
	"Deployment Hook":    "deployment_events",
	"Release Hook":       "releases_events",
}

// Publish sends an event of the caller's making to the hooks that listen for
// it, with the headers and signatures of a real one, and waits for the
// answers.
func (s *Sim) Publish(spec EventSpec) ([]Delivery, error) {
	s.mu.Lock()
	r := s.visible(spec.Provider, spec.Repository)
	if r == nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("publish: no repository %s at %s", spec.Repository, spec.Provider)
	}
	var head struct {
		Action string `json:"action"`
	}
	_ = json.Unmarshal(spec.Payload, &head) // a payload that is no object is sent all the same
	ev := event{
		repo: r, name: spec.Event, trigger: gitlabTriggers[spec.Event], action: head.Action,
		guid: uuid.NewString(), chain: uuid.NewString(), payload: spec.Payload,
	}
	all := s.shipments(ev)
	s.mu.Unlock()
	s.flight.begin()
	defer s.flight.end()
	return s.sendAndWait(all), nil
}
