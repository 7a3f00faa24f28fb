package handlers

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/store"
)

// actRoutes are for users who do something about an incident. Each answers with
// the incident as it is then; what changes nothing is no error.
func (d Deps) actRoutes(api huma.API) {
	act(d, api, store.ActAcknowledge, "Say that you look after an incident, in its present episode", noteOnly)
	act(d, api, store.ActUnacknowledge, "Say that you look after an incident no more", noteOnly)
	act(d, api, store.ActResolve, "End an incident; a later failure opens it again", noteOnly)
	act(d, api, store.ActReopen, "Open an incident again", noteOnly)
	act(d, api, store.ActSnooze, "Keep an incident quiet until a time, a number of failed runs or a commit, or until it gets worse", func(in snoozeBody) store.Act {
		return store.Act{Note: in.Note, Until: in.Until, Count: in.Count, SHA: in.SHA}
	})
	act(d, api, store.ActUnsnooze, "End the snooze of an incident", noteOnly)
	act(d, api, store.ActAssign, "Say whose an incident is, whatever the rules say", func(in assignBody) store.Act {
		return store.Act{Note: in.Note, Assignee: in.Assignee}
	})
	act(d, api, store.ActComment, "Add a comment to an incident's history", func(in commentBody) store.Act {
		return store.Act{Note: in.Note}
	})
	act(d, api, store.ActMerge, "Make an incident part of another of its branch, now and later", func(in mergeBody) store.Act {
		return store.Act{Note: in.Note, Into: in.Into}
	})
	act(d, api, store.ActSplit, "Take something out of an incident", func(in *splitBody) store.Act {
		if in == nil {
			return store.Act{}
		}
		return store.Act{Note: in.Note, Fingerprint: in.Fingerprint, Jobs: in.Jobs}
	})
}

type noteBody struct {
	Note string `json:"note,omitempty" maxLength:"4000" doc:"Why; it is shown in the history."`
}

func noteOnly(in *noteBody) store.Act {
	if in == nil { // the body may be left out
		return store.Act{}
	}
	return store.Act{Note: in.Note}
}

type snoozeBody struct {
	Note  string    `json:"note,omitempty" maxLength:"4000" doc:"Why; it is shown in the history."`
	Until time.Time `json:"until,omitempty" doc:"Until this time. Give one of until, count and sha."`
	Count int       `json:"count,omitempty" minimum:"1" maximum:"1000" doc:"Until it has failed in so many more runs."`
	SHA   string    `json:"sha,omitempty" maxLength:"64" doc:"Until a commit fails that contains this one: 40 hexadecimal digits."`
}

type assignBody struct {
	Note     string `json:"note,omitempty" maxLength:"4000" doc:"Why; it is shown in the history."`
	Assignee string `json:"assignee" maxLength:"200" doc:"A user, a person or a team at the forge; me is you, and nothing leaves it to the rules again." example:"@acme/payments"`
}

type commentBody struct {
	Note string `json:"note" minLength:"1" maxLength:"4000" doc:"The comment, as plain text."`
}

type mergeBody struct {
	Note string `json:"note,omitempty" maxLength:"4000" doc:"Why; it is shown in the history."`
	Into string `json:"into" minLength:"1" maxLength:"64" doc:"The id of the incident that it becomes part of. Neither may be resolved."`
}

type splitBody struct {
	Note        string   `json:"note,omitempty" maxLength:"4000" doc:"Why; it is shown in the history."`
	Fingerprint string   `json:"fingerprint,omitempty" maxLength:"200" doc:"Of an incident that was merged into it, and leaves it."`
	Jobs        []string `json:"jobs,omitempty" maxItems:"100" nullable:"false" doc:"The failures in these jobs leave it, and are an incident of their own. With neither, an incident that was merged leaves the one that it is part of."`
}

type actInput[Body any] struct {
	ID   string `path:"id" maxLength:"64"`
	Body Body
}

// act adds the route of an act. What its body says, read makes an act of.
func act[Body any](d Deps, api huma.API, kind store.ActKind, summary string, read func(Body) store.Act) {
	huma.Register(api, huma.Operation{
		OperationID: string(kind) + "-incident", Method: http.MethodPost, Path: "/api/v2/incidents/{id}/" + string(kind),
		Summary: summary, Tags: []string{"incidents"},
		Errors: slices.Concat(everyRoute, bodyRoute, []int{http.StatusNotFound, http.StatusConflict}),
	}, call(func(ctx context.Context, caller auth.Identity, in *actInput[Body]) (*incidentOutput, error) {
		a := read(in.Body)
		a.Kind, a.UserID, a.Actor, a.At = kind, caller.UserID, caller.Name, d.Now()
		if a.Assignee == store.Me {
			a.Assignee = caller.Name
		}
		tasks, err := d.Store.ActOn(ctx, in.ID, a)
		if err != nil {
			return nil, err
		}
		d.Relay.Send(ctx, tasks)
		return d.incidentDocument(ctx, caller, in.ID)
	}))
}
