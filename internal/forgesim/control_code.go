package forgesim

import (
	"net/http"
)

// codeAPI is the part of the control API about branches, files and pull
// requests.
func (s *Sim) codeAPI() []controlRoute {
	return []controlRoute{
		{"POST /control/pushes", "Pushes a commit. Only provider and repository are needed. Also: sha (of a commit that is there: moves the branch to it), " +
			"onto (a forced push), merge, revert, remove (paths), delete (the branch), silent.",
			`{"provider":"github","repository":"acme/parcel","branch":"main","author":"mira-lund","message":"Fix it","files":{"README.md":"# Parcel\n"}}`, s.controlPush},
		{"GET /control/pulls", "Lists the pull and merge requests.", "", list(s.Pulls)},
		{"POST /control/pulls", "Opens a pull or merge request.",
			`{"provider":"github","repository":"acme/parcel","branch":"fix","target":"main","title":"Fix it","labels":["bug"]}`, s.controlOpenPull},
		{"PATCH /control/pulls", "Changes one: edited, labeled, ready_for_review, converted_to_draft, closed, reopened, merged, APPROVED, CHANGES_REQUESTED, COMMENTED.",
			`{"provider":"github","repository":"acme/parcel","number":1,"action":"merged","by":"yuki-arai"}`, s.controlEditPull},
		{"DELETE /control/logs/{provider}/{job}", "Erases a job's log.", "", s.controlEraseLog},
	}
}

func (s *Sim) controlPush(r *http.Request) (any, error) {
	var spec PushSpec
	if err := read(r, &spec); err != nil {
		return nil, err
	}
	made, err := s.Push(spec)
	if err != nil || spec.Delete {
		return nil, err
	}
	return made, nil
}

func (s *Sim) controlOpenPull(r *http.Request) (any, error) {
	var spec PullSpec
	if err := read(r, &spec); err != nil {
		return nil, err
	}
	return s.OpenPull(spec)
}

type pullRequest struct {
	Provider   string   `json:"provider"`
	Repository string   `json:"repository"`
	Number     int64    `json:"number"`
	Action     string   `json:"action"`
	By         string   `json:"by"` // login
	Title      string   `json:"title"`
	Body       string   `json:"body"`
	Labels     []string `json:"labels"`
}

func (s *Sim) controlEditPull(r *http.Request) (any, error) {
	var q pullRequest
	if err := read(r, &q); err != nil {
		return nil, err
	}
	switch q.Action {
	case "merged":
		return s.MergePull(q.Provider, q.Repository, q.Number, q.By)
	case "APPROVED", "CHANGES_REQUESTED", "COMMENTED":
		return s.ReviewPull(q.Provider, q.Repository, q.Number, q.By, q.Action)
	}
	return s.EditPull(q.Provider, q.Repository, q.Number, q.Action, func(p *Pull) {
		if q.Title != "" {
			p.Title = q.Title
		}
		if q.Body != "" {
			p.Body = q.Body
		}
		if q.Labels != nil {
			p.Labels = q.Labels
		}
	})
}

func (s *Sim) controlEraseLog(r *http.Request) (any, error) {
	return nil, s.EraseLog(r.PathValue("provider"), parseID(r.PathValue("job")))
}
