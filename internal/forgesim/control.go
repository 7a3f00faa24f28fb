package forgesim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// controlRoute is a request of the control API.
type controlRoute struct {
	Pattern string
	What    string // for people, on the control page
	Body    string // example; empty when there is none
	serve   func(*http.Request) (any, error)
}

// controlAPI is the whole control API, in the order in which it is explained.
func (s *Sim) controlAPI() []controlRoute {
	return append([]controlRoute{
		{"POST /control/runs", "Plays a run and answers with its deliveries. Only provider and repository are needed. Also: sha, author, message, event, " +
			"pull_request, fork, failed_job, kind, log, reports (JUnit by name), attempt_of (a run id, to run it again), rerun_conclusion, " +
			"deliver (normal, completed_only, none), delay_ms, repeat, reorder, drop, lose.",
			`{"provider":"github","repository":"acme/parcel","branch":"main","workflow":"CI","conclusion":"failure","kind":"go-test"}`, s.controlRun},
		{"GET /control/runs", "Lists the runs.", "", list(s.Runs)},
		{"GET /control/repositories", "Lists the repositories.", "", list(s.Repositories)},
		{"POST /control/repositories", "Makes a repository.", `{"provider":"gitlab","repository":"acme/parcel"}`, s.controlAddRepository},
		{"PATCH /control/repositories", "Renames, archives, hides or removes a repository, or protects branches.",
			`{"provider":"gitlab","repository":"acme/parcel","rename_to":"acme/box","archived":true,"private":true,"removed":false,"protected":["main"]}`, s.controlEditRepository},
		{"GET /control/hooks", "Lists the hooks of both forges, with their secrets, so that others can sign as the forge does.", "", list(s.Hooks)},
		{"DELETE /control/hooks/{provider}/{hook}", "Deletes a hook behind its owner's back.", "", s.controlDeleteHook},
		{"POST /control/events", "Sends an event with a payload of your own to the hooks that listen for it.",
			`{"provider":"github","repository":"acme/parcel","event":"pull_request","payload":{}}`, s.controlEvent},
		{"GET /control/deliveries", "Lists what was sent, with the answers.", "", list(s.Deliveries)},
		{"POST /control/deliveries/{delivery}/redeliver", "Sends a delivery again.", "", s.controlRedeliver},
		{"GET /control/requests", "Lists the API requests that were made.", "", list(s.Requests)},
		{"GET /control/complaints", "Lists mistakes of clients that the forges take in silence.", "", list(s.Complaints)},
		{"GET /control/faults", "Lists the faults that can still happen.", "", list(s.Faults)},
		{"POST /control/faults", "Makes API requests fail: with an answer, by cutting the connection (reset, truncate), by silence, before or after_apply.",
			`{"provider":"github","method":"POST","path_regexp":"/hooks$","times":1,"status":502,"after_apply":true}`, s.controlFault},
		{"DELETE /control/faults", "Removes all faults.", "", func(*http.Request) (any, error) { s.ClearFaults(); return nil, nil }},
		{"POST /control/reset", "Forgets everything.", "", func(*http.Request) (any, error) { s.Reset(); return nil, nil }},
	}, append(s.codeAPI(), s.identityAPI()...)...)
}

func (s *Sim) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	for _, route := range s.controlAPI() {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, largestControl)
			doc, err := route.serve(r)
			switch {
			case errors.Is(err, errNotThere):
				answer{status: http.StatusNotFound, body: object{"error": err.Error()}}.write(w)
			case err != nil:
				answer{status: http.StatusBadRequest, body: object{"error": err.Error()}}.write(w)
			case doc == nil:
				answer{status: http.StatusNoContent}.write(w)
			default:
				ok(doc).write(w)
			}
		})
	}
	return mux
}

// largestControl bounds the body of a control request; payloads may be as
// large as the forges' own.
const largestControl = 26 << 20

// errNotThere is answered with 404.
var errNotThere = errors.New("not there")

// list serves a list, which is [] when it is empty.
func list[T any](all func() []T) func(*http.Request) (any, error) {
	return func(*http.Request) (any, error) { return append([]T{}, all()...), nil }
}

// read decodes the body, and refuses fields that do not exist.
func read(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

// longestAnswer bounds how long a request to play a run waits for the
// deliveries; those of a run with long pauses go on without it.
const longestAnswer = 20 * time.Second

func (s *Sim) controlRun(r *http.Request) (any, error) {
	var spec RunSpec
	if err := read(r, &spec); err != nil {
		return nil, err
	}
	run, told, err := s.start(spec)
	if err != nil {
		return nil, err
	}
	a := run.latest()
	doc := object{
		"run_id": run.ID, "attempt": a.Number, "number": run.Number, "conclusion": a.Conclusion, "branch": run.Branch,
		"sha": run.Commit.SHA, "url": run.URL, "jobs": append([]Job{}, a.Jobs...), "deliveries": []Delivery{}, "complete": false,
	}
	timer := time.NewTimer(longestAnswer)
	defer timer.Stop()
	select {
	case sent := <-told:
		doc["deliveries"], doc["complete"] = append([]Delivery{}, sent...), true
	case <-timer.C:
	case <-r.Context().Done():
	}
	return doc, nil
}

type repositoryRequest struct {
	Provider   string   `json:"provider"`
	Repository string   `json:"repository"`
	RenameTo   string   `json:"rename_to"`
	Archived   *bool    `json:"archived"`
	Private    *bool    `json:"private"`
	Removed    *bool    `json:"removed"`
	Protected  []string `json:"protected"`
}

func (s *Sim) controlAddRepository(r *http.Request) (any, error) {
	var q repositoryRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	return s.AddRepository(q.Provider, q.Repository)
}

func (s *Sim) controlEditRepository(r *http.Request) (any, error) {
	var q repositoryRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	return s.EditRepository(q.Provider, q.Repository, func(repo *Repository) {
		if q.RenameTo != "" {
			repo.FullName = q.RenameTo
		}
		set := func(to, from *bool) {
			if from != nil {
				*to = *from
			}
		}
		set(&repo.Archived, q.Archived)
		set(&repo.Private, q.Private)
		set(&repo.Removed, q.Removed)
		if q.Protected != nil {
			repo.Protected = q.Protected
		}
	})
}

func (s *Sim) controlDeleteHook(r *http.Request) (any, error) {
	if !s.DeleteHook(r.PathValue("provider"), parseID(r.PathValue("hook"))) {
		return nil, fmt.Errorf("hook %s: %w", r.PathValue("hook"), errNotThere)
	}
	return nil, nil
}

func (s *Sim) controlEvent(r *http.Request) (any, error) {
	var spec EventSpec
	if err := read(r, &spec); err != nil {
		return nil, err
	}
	sent, err := s.Publish(spec)
	if err != nil {
		return nil, err
	}
	return append([]Delivery{}, sent...), nil
}

func (s *Sim) controlRedeliver(r *http.Request) (any, error) {
	return s.Redeliver(parseID(r.PathValue("delivery")))
}

func (s *Sim) controlFault(r *http.Request) (any, error) {
	var f Fault
	if err := read(r, &f); err != nil {
		return nil, err
	}
	if err := s.SetFault(f); err != nil {
		return nil, err
	}
	return append([]Fault{}, s.Faults()...), nil
}

// Reset forgets repositories, hooks, runs, deliveries, requests, faults,
// complaints, tokens and the App. Ids are not given out a second time, and
// IssuedSecrets goes on.
func (s *Sim) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state{Version: stateVersion, Serial: s.state.Serial, Issued: s.state.Issued}
	s.faults, s.requests, s.complaints = nil, nil, nil
	s.changed()
}
