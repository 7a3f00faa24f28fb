package handlers

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/devflowfix/devflowfix/internal/auth"
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
	page.Rules = ruleRows(rules.Body.Rules)
	return d.show(w, r, page)
}

func (d Deps) rulesPage(r *http.Request, viewer auth.Identity) (web.RulesPage, error) {
	c, err := d.Store.ConnectionOf(r.Context(), viewer.UserID, r.PathValue("id"))
	if err != nil {
		return web.RulesPage{}, err
	}
	return web.RulesPage{
		Frame: d.frame(r, web.Repositories, "Owners in "+c.FullName), FullName: c.FullName, Path: connectionPagePath + c.ID + "/rules",
		Tabs: connectionTabs(c.ID, "rules"), MayChange: connectionRow(c).MayChange, Try: web.RuleTry{Categories: choices("", categoryChoices()...)},
	}, nil
}

func ruleRows(rules []routingRule) []web.RuleRow {
	var rows []web.RuleRow
	for _, rule := range append(rules, make([]routingRule, spareRules)...) {
		rows = append(rows, web.RuleRow{
			Number: len(rows) + 1, Owner: rule.Owner, Path: rule.Path, Workflow: rule.Workflow, Job: rule.Job, Branch: rule.Branch,
			Category: rule.Category, Failure: rule.Fingerprint,
		})
	}
	return rows
}

// rulesByForm saves the rules of the form, or tries them.
func (d Deps) rulesByForm(w http.ResponseWriter, r *http.Request, viewer auth.Identity) error {
	form, err := readForm(w, r)
	if err != nil {
		return err
	}
	rules := rulesOf(form)
	if form.Get("do") == "try" {
		return d.tryRules(w, r, viewer, form, rules)
	}
	back := connectionPagePath + url.PathEscape(r.PathValue("id")) + "/rules"
	in := setRoutingInput{ID: r.PathValue("id")}
	in.Body.Rules = rules
	if _, err := d.setRoutingRules(r.Context(), viewer, &in); err != nil {
		return d.notDone(w, r, back, err)
	}
	return d.done(w, r, back, "The rules are saved. Incidents that are not resolved follow.")
}

// rulesOf are the rules of the form that name an owner.
func rulesOf(form url.Values) []routingRule {
	at := func(name string, n int) string {
		if n < len(form[name]) {
			return strings.TrimSpace(form[name][n])
		}
		return ""
	}
	rules := []routingRule{}
	for n := range form["owner"] {
		if at("owner", n) == "" {
			continue
		}
		rules = append(rules, routingRule{
			Owner: at("owner", n), Path: at("path", n), Workflow: at("workflow", n), Job: at("job", n), Branch: at("branch", n),
			Category: at("category", n), Fingerprint: at("fingerprint", n),
		})
	}
	return rules
}

// tryRules shows the form as it is, with whose the failure would be that it
// describes.
func (d Deps) tryRules(w http.ResponseWriter, r *http.Request, viewer auth.Identity, form url.Values, rules []routingRule) error {
	page, err := d.rulesPage(r, viewer)
	if err != nil {
		return err
	}
	in := previewInput{ID: r.PathValue("id")}
	in.Body.Rules, in.Body.Workflow, in.Body.Job, in.Body.Branch = rules, form.Get("try_workflow"), form.Get("try_job"), form.Get("try_branch")
	in.Body.Category = form.Get("try_category")
	if file := strings.TrimSpace(form.Get("try_file")); file != "" {
		in.Body.Files = []string{file}
	}
	page.Rules = ruleRows(rules)
	page.Try = web.RuleTry{
		File: form.Get("try_file"), Workflow: in.Body.Workflow, Job: in.Body.Job, Branch: in.Body.Branch,
		Categories: choices(in.Body.Category, categoryChoices()...),
	}
	out, err := d.previewRoutingRules(r.Context(), viewer, &in)
	if err != nil {
		return d.notDone(w, r, page.Path, err)
	}
	page.Result = &web.RuleResult{Owner: out.Body.Owner, Rule: out.Body.Rule, Codeowners: out.Body.Codeowners}
	return d.show(w, r, page)
}
