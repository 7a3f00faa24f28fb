package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/owner"
	"github.com/devflowfix/devflowfix/internal/store"
)

// routingRoutes are for users who say whose failures are.
func (d Deps) routingRoutes(api huma.API) {
	path, tags := connectionsPath+"/{id}/routing-rules", []string{"routing"}
	huma.Register(api, huma.Operation{
		OperationID: "show-routing-rules", Method: http.MethodGet, Path: path,
		Summary: "Show the routing rules of a repository", Tags: tags,
		Description: "Rules are tried in their order; the first that fits names the owner. They come after a person's assignment and before CODEOWNERS.",
		Errors:      slices.Concat(everyRoute, []int{http.StatusNotFound}),
	}, call(d.showRoutingRules))
	huma.Register(api, huma.Operation{
		OperationID: "set-routing-rules", Method: http.MethodPut, Path: path,
		Summary: "Set the routing rules of a repository", Tags: tags,
		Description: "Takes the place of all rules. Incidents that are not resolved follow, and tell it in their history.",
		Errors:      slices.Concat(everyRoute, bodyRoute, []int{http.StatusNotFound}),
	}, call(d.setRoutingRules))
	huma.Register(api, huma.Operation{
		OperationID: "preview-routing-rules", Method: http.MethodPost, Path: path + "/preview",
		Summary: "Say whose a failure would be, and by which rule", Tags: tags,
		Description: "Nothing is saved. With incident_id it is that incident, else the failure that the other members describe. With rules, those are tried in the place of the saved ones.",
		Errors:      slices.Concat(everyRoute, bodyRoute, []int{http.StatusNotFound}),
	}, call(d.previewRoutingRules))
}

// routingRule is a routing rule as the API takes and shows it.
type routingRule struct {
	Owner       string `json:"owner" minLength:"1" maxLength:"500" doc:"A @user, a @group or @organization/team, a @@role, an e-mail address or a user's name; several are separated by spaces." example:"@acme/payments"`
	Workflow    string `json:"workflow,omitempty" maxLength:"200" doc:"A pattern of the workflow's name. In all patterns but path, * stands for any characters and ? for one, and case does not count; one that is left out fits everything."`
	Job         string `json:"job,omitempty" maxLength:"200" doc:"A pattern of the job's name."`
	Branch      string `json:"branch,omitempty" maxLength:"200" doc:"A pattern of the branch."`
	Path        string `json:"path,omitempty" maxLength:"200" doc:"A pattern of GitHub's CODEOWNERS that has to cover one of the files that the failure names: *.go, /api/." example:"/api/"`
	Category    string `json:"category,omitempty" maxLength:"200" doc:"A pattern of the category: test, compile, network, …"`
	Fingerprint string `json:"fingerprint,omitempty" maxLength:"200" doc:"A pattern of the fingerprint."`
}

// rulesFrom reads rules, and refuses those that could never work, by the
// member of the body that is at fault.
func rulesFrom(list []routingRule) ([]owner.Rule, error) {
	rules := make([]owner.Rule, len(list))
	for n, r := range list {
		rules[n] = owner.Rule{Position: n + 1, Owner: r.Owner, Workflow: r.Workflow, Job: r.Job, Branch: r.Branch,
			Path: r.Path, Category: r.Category, Fingerprint: r.Fingerprint}
		err := rules[n].Validate()
		if wrong, ok := errors.AsType[*fault.Error](err); ok {
			return nil, &fault.Error{Kind: wrong.Kind, Field: fmt.Sprintf("body.rules[%d].%s", n, wrong.Field),
				Sentence: fmt.Sprintf("Rule %d, %s: %s", n+1, wrong.Field, wrong.Sentence)}
		}
		if err != nil {
			return nil, err
		}
	}
	return rules, nil
}

type routingRules struct {
	Body struct {
		Rules []routingRule `json:"rules" nullable:"false" doc:"In the order in which they are tried."`
	}
}

func showRules(rules []owner.Rule) *routingRules {
	var out routingRules
	out.Body.Rules = []routingRule{}
	for _, r := range rules {
		out.Body.Rules = append(out.Body.Rules, routingRule{Owner: r.Owner, Workflow: r.Workflow, Job: r.Job, Branch: r.Branch,
			Path: r.Path, Category: r.Category, Fingerprint: r.Fingerprint})
	}
	return &out
}

func (d Deps) showRoutingRules(ctx context.Context, caller auth.Identity, in *connectionPath) (*routingRules, error) {
	rules, err := d.Store.RoutingRulesOf(ctx, caller.UserID, in.ID)
	if err != nil {
		return nil, err
	}
	return showRules(rules), nil
}

type setRoutingInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Rules []routingRule `json:"rules" maxItems:"100" nullable:"false" doc:"In the order in which they are tried."`
	}
}

func (d Deps) setRoutingRules(ctx context.Context, caller auth.Identity, in *setRoutingInput) (*routingRules, error) {
	rules, err := rulesFrom(in.Body.Rules)
	if err != nil {
		return nil, err
	}
	tasks, err := d.Store.SaveRoutingRules(ctx, caller.UserID, in.ID, rules)
	if err != nil {
		return nil, err
	}
	d.Relay.Send(ctx, tasks)
	d.audit(ctx, caller, "connection.routing", in.ID, map[string]any{"rules": len(rules)})
	return showRules(rules), nil
}

type previewInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		IncidentID   string        `json:"incident_id,omitempty" maxLength:"64" doc:"An incident of the repository. The members that describe a failure are left out then."`
		Rules        []routingRule `json:"rules,omitempty" maxItems:"100" nullable:"false" doc:"Tried in the place of the saved rules."`
		Files        []string      `json:"files,omitempty" maxItems:"20" nullable:"false" doc:"That the failure names, as paths of the repository."`
		Tests        []string      `json:"tests,omitempty" maxItems:"20" nullable:"false" doc:"Files of failed tests."`
		Workflow     string        `json:"workflow,omitempty" maxLength:"500"`
		WorkflowFile string        `json:"workflow_file,omitempty" maxLength:"500" example:".github/workflows/ci.yml"`
		Job          string        `json:"job,omitempty" maxLength:"500"`
		Branch       string        `json:"branch,omitempty" maxLength:"1000" doc:"The default branch when left out."`
		Category     string        `json:"category,omitempty" maxLength:"50"`
		Fingerprint  string        `json:"fingerprint,omitempty" maxLength:"100"`
	}
}

type previewOutput struct {
	Body struct {
		Owner      string `json:"owner" doc:"Empty when nobody would be."`
		Rule       string `json:"rule" doc:"The rule that decided, in words: CODEOWNERS line 12: /api/ @acme/api (api/pay.go)."`
		Kind       string `json:"kind" enum:"manual,rule,codeowners,culprit,ci_file,default"`
		Line       int    `json:"line" doc:"Of CODEOWNERS; 0 when it did not decide."`
		Codeowners string `json:"codeowners" doc:"The path of the CODEOWNERS file that was looked at; empty when none is known, which may be because no incident of the branch has needed it yet."`
	}
}

func (d Deps) previewRoutingRules(ctx context.Context, caller auth.Identity, in *previewInput) (*previewOutput, error) {
	o, err := d.previewed(ctx, caller, in)
	if err != nil {
		return nil, err
	}
	if in.Body.Rules != nil {
		if o.Facts.Rules, err = rulesFrom(in.Body.Rules); err != nil {
			return nil, err
		}
	}
	choice := owner.Choose(o.Facts)
	var out previewOutput
	out.Body.Owner, out.Body.Rule, out.Body.Kind, out.Body.Line = choice.Owner, choice.Rule, choice.Kind, choice.Line
	out.Body.Codeowners = o.Facts.CodeownersPath
	return &out, nil
}

// previewed is what decides over the failure that a preview is about.
func (d Deps) previewed(ctx context.Context, caller auth.Identity, in *previewInput) (store.Ownership, error) {
	b := in.Body
	if b.IncidentID != "" {
		o, err := d.Store.OwnershipOf(ctx, caller.UserID, b.IncidentID)
		if err == nil && o.ConnectionID != in.ID {
			return o, fault.New(fault.NotFound, "The connection "+in.ID+" has no incident "+b.IncidentID+".")
		}
		return o, err
	}
	o, err := d.Store.PreviewOf(ctx, caller.UserID, in.ID, b.Branch)
	if err != nil {
		return o, err
	}
	category := evidence.Category(b.Category)
	f := &o.Facts
	f.Files, f.TestFiles, f.Workflow, f.Job, f.WorkflowFile = b.Files, b.Tests, b.Workflow, b.Job, b.WorkflowFile
	f.Category, f.Fingerprint, f.Infra, f.Config = b.Category, b.Fingerprint, category.Infrastructure(), store.OfConfiguration(category)
	return o, nil
}
