package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/web"
)

// spareRules are the empty rows of the form.
const spareRules = 3

// showRulesPage shows the routing rules of a connection.
func (d Deps) showRulesPage(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	page, err := d.rulesPage(r, viewer)
	if err != nil {
		return err
	}
	rules, err := d.showRoutingRules(r.Context(), viewer, &connectionPath{ID: r.PathValue("id")})
	if err != nil {
		return err
	}
	page.Rules = ruleRows(rules.Body.Rules, "")
	return d.show(w, r, page)
}

func (d Deps) rulesPage(r *http.Request, viewer auth.Identity) (web.RulesPage, error) {
	c, err := d.Store.ConnectionOf(r.Context(), viewer.UserID, r.PathValue("id"))
	if err != nil {
		return web.RulesPage{}, err
	}
	return web.RulesPage{
		Frame: d.frame(r, web.Repositories, "Owners in "+c.FullName), FullName: c.FullName, Path: connectionPagePath + c.ID + "/rules",
		Tabs: connectionTabs(c.ID, "rules"), MayChange: connectionRow(c).MayChange, Try: ruleTry(url.Values{}),
	}, nil
}

// ruleFields are the parts of a rule in the form, by the names that faults have
// for them too.
var ruleFields = []struct {
	name, label, placeholder string
	most                     int // characters
	of                       func(*routingRule) *string
}{
	{"owner", "Owner", "@acme/payments", 500, func(r *routingRule) *string { return &r.Owner }},
	{"path", "Files", "/api/", 200, func(r *routingRule) *string { return &r.Path }},
	{"workflow", "Workflow", "", 200, func(r *routingRule) *string { return &r.Workflow }},
	{"job", "Job", "", 200, func(r *routingRule) *string { return &r.Job }},
	{"branch", "Branch", "", 200, func(r *routingRule) *string { return &r.Branch }},
	{"category", "Category", "", 200, func(r *routingRule) *string { return &r.Category }},
	{"fingerprint", "Fingerprint", "", 200, func(r *routingRule) *string { return &r.Fingerprint }},
}

// ruleRows are the rows of the form. A fault names one of their fields as the
// API does; wrong is empty without one.
func ruleRows(rules []routingRule, wrong string) []web.RuleRow {
	var rows []web.RuleRow
	for n, rule := range slices.Concat(rules, make([]routingRule, spareRules)) {
		row := web.RuleRow{Number: n + 1}
		for _, f := range ruleFields {
			row.Fields = append(row.Fields, web.RuleField{
				Name: f.name, Label: f.label, Value: *f.of(&rule), Placeholder: f.placeholder, Most: f.most,
				Wrong: wrong == fmt.Sprintf("body.rules[%d].%s", n, f.name),
			})
		}
		rows = append(rows, row)
	}
	return rows
}

// rulesByForm saves the rules of the form, or tries them. Where they cannot be
// taken, the form is shown again as it was typed.
func (d Deps) rulesByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	page, err := d.rulesPage(r, viewer)
	if err != nil {
		return err
	}
	typed := rulesTyped(form)
	page.Rules, page.Try = ruleRows(typed, ""), ruleTry(form)
	rules := slices.DeleteFunc(slices.Clone(typed), func(rule routingRule) bool { return rule.Owner == "" })
	if form.Get("do") == "try" {
		page.Result, err = d.tryRules(r.Context(), viewer, r.PathValue("id"), page.Try, rules)
	} else {
		in := setRoutingInput{ID: r.PathValue("id")}
		in.Body.Rules = rules
		_, err = d.setRoutingRules(r.Context(), viewer, &in)
	}
	switch wrong, _ := errors.AsType[*fault.Error](err); {
	case fault.Is(err, fault.Invalid):
		page.Rules, page.Notice = ruleRows(typed, wrong.Field), web.Notice{Text: fault.Sentence(err), Failed: true}
		return web.Show(w, fault.Status(err), page, "")
	case err != nil:
		return d.notDone(w, r, page.Path, err)
	case page.Result != nil:
		return d.show(w, r, page)
	}
	return d.done(w, r, page.Path, "The rules are saved. Incidents that are not resolved follow.")
}

// rulesTyped are the rules of the form that say anything, those with an owner
// first: a fault counts only these.
func rulesTyped(form url.Values) []routingRule {
	rules := []routingRule{}
	for n := range form["owner"] {
		var rule routingRule
		for _, f := range ruleFields {
			if n < len(form[f.name]) {
				*f.of(&rule) = strings.TrimSpace(form[f.name][n])
			}
		}
		if rule != (routingRule{}) {
			rules = append(rules, rule)
		}
	}
	slices.SortStableFunc(rules, func(a, b routingRule) int { return boolToInt(a.Owner == "") - boolToInt(b.Owner == "") })
	return rules
}

// ruleTry is the failure that the form describes.
func ruleTry(form url.Values) web.RuleTry {
	return web.RuleTry{
		File: strings.TrimSpace(form.Get("try_file")), Workflow: form.Get("try_workflow"), Job: form.Get("try_job"), Branch: form.Get("try_branch"),
		Categories: choices(form.Get("try_category"), categoryChoices()...),
	}
}

// tryRules says whose a failure would be.
func (d Deps) tryRules(ctx context.Context, viewer auth.Identity, id string, try web.RuleTry, rules []routingRule) (*web.RuleResult, error) {
	in := previewInput{ID: id}
	in.Body.Rules, in.Body.Workflow, in.Body.Job, in.Body.Branch = rules, try.Workflow, try.Job, try.Branch
	in.Body.Category = selectedOf(try.Categories)
	if try.File != "" {
		in.Body.Files = []string{try.File}
	}
	out, err := d.previewRoutingRules(ctx, viewer, &in)
	if err != nil {
		return nil, err
	}
	return &web.RuleResult{Owner: out.Body.Owner, Rule: out.Body.Rule, Codeowners: out.Body.Codeowners}, nil
}
