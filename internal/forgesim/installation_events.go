package forgesim

import (
	"fmt"
	"maps"

	"github.com/google/uuid"
)

// tellApp sends an event about the App itself. Every App hears these, whatever
// it listens for.
// https://docs.github.com/webhooks/webhook-events-and-payloads#installation
func (s *Sim) tellApp(in *Installation, name, action string, doc object, drop bool) {
	doc["action"] = action
	ev := event{name: name, action: action, guid: uuid.NewString(), aboutApp: true}
	if in != nil {
		ev.installation = in.ID
	}
	ev.payload = encode(doc)
	sh, err := s.appShipment(ev)
	if err != nil {
		return
	}
	if drop {
		sh.Missing, sh.Status = true, "failed to connect to host"
	}
	s.send([]*shipment{sh})
}

// installationEvent begins the payload of an event of an installation.
func (s *Sim) installationEvent(in *Installation, by string) object {
	return object{"installation": s.installationDoc(in), "sender": s.githubUser(by)}
}

// tellInstallation tells of an installation as a whole. Suspending says
// nothing of the repositories.
func (s *Sim) tellInstallation(in *Installation, action, by string, drop bool) {
	doc := s.installationEvent(in, by)
	if action == "deleted" || action == "new_permissions_accepted" {
		doc["repositories"] = s.briefly(s.covered(in))
	}
	s.tellApp(in, "installation", action, doc, drop)
}

// tellRepositories tells of repositories that were added or removed.
func (s *Sim) tellRepositories(in *Installation, added, removed []int64, by string, drop bool) {
	doc := s.installationEvent(in, by)
	doc["repository_selection"] = in.Selection
	doc["repositories_added"], doc["repositories_removed"] = s.briefly(s.repositoriesByID(added)), s.briefly(s.repositoriesByID(removed))
	doc["requester"] = nil
	action := "added"
	if len(removed) > 0 {
		action = "removed"
	}
	s.tellApp(in, "installation_repositories", action, doc, drop)
}

// tellRename tells that an account has another login. The installation is
// named by its ids alone.
func (s *Sim) tellRename(in *Installation, was string, drop bool) {
	account := s.githubOwner(in.Account)
	s.tellApp(in, "installation_target", "renamed", object{
		"account": account, "changes": object{"login": object{"from": was}}, "target_type": account["type"],
		"installation": object{"id": in.ID, "node_id": nodeID("Installation", in.ID)}, "sender": s.githubUser(tokenOwner),
	}, drop)
}

func (s *Sim) repositoriesByID(ids []int64) []*Repository {
	var all []*Repository
	for _, id := range ids {
		if r := s.repositoryByID(GitHub, id); r != nil {
			all = append(all, r)
		}
	}
	return all
}

// briefly is how events of installations name repositories.
func (s *Sim) briefly(repositories []*Repository) []object {
	docs := []object{}
	for _, r := range repositories {
		docs = append(docs, object{
			"id": r.ID, "node_id": nodeID("Repository", r.ID), "name": nameOf(r.FullName), "full_name": r.FullName, "private": r.Private,
		})
	}
	return docs
}

// installationDoc is an installation as the API and events show it.
func (s *Sim) installationDoc(in *Installation) object {
	app, account := s.state.App, s.githubOwner(in.Account)
	page := fmt.Sprintf("/organizations/%s/settings/installations/%d", in.Account, in.ID)
	if account["type"] == "User" {
		page = fmt.Sprintf("/settings/installations/%d", in.ID)
	}
	doc := object{
		"id": in.ID, "client_id": app.ClientID, "account": account, "repository_selection": in.Selection, "app_id": app.ID,
		"app_slug": app.Slug, "target_id": account["id"], "target_type": account["type"],
		"permissions": maps.Clone(in.Permissions), "events": append([]string{}, in.Events...),
		"access_tokens_url": s.githubAPIURL(fmt.Sprintf("/app/installations/%d/access_tokens", in.ID)),
		"repositories_url":  s.githubAPIURL("/installation/repositories"),
		"html_url":          s.githubWebURL(page),
		"created_at":        githubTime(in.CreatedAt), "updated_at": githubTime(in.UpdatedAt), "single_file_name": nil,
		"has_multiple_single_files": false, "single_file_paths": []string{}, "suspended_by": nil, "suspended_at": nil,
	}
	if in.suspended() {
		doc["suspended_at"], doc["suspended_by"] = githubTime(in.SuspendedAt), s.githubUser(in.SuspendedBy)
	}
	return doc
}
