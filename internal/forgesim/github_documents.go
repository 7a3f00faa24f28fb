package forgesim

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func githubTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// nodeID is a GraphQL id.
func nodeID(kind string, id int64) string {
	text := fmt.Sprintf("%03d:%s%d", len(kind), kind, id)
	return base64.StdEncoding.EncodeToString([]byte(text))
}

func (s *Sim) githubAPIURL(path string) string { return s.publicURL + GitHubAPIPath + path }

func (s *Sim) githubWebURL(path string) string { return s.publicURL + "/github" + path }

// userLinks are the links of an account below its API URL.
var userLinks = map[string]string{
	"followers_url": "/followers", "following_url": "/following{/other_user}", "gists_url": "/gists{/gist_id}",
	"starred_url": "/starred{/owner}{/repo}", "subscriptions_url": "/subscriptions", "organizations_url": "/orgs",
	"repos_url": "/repos", "events_url": "/events{/privacy}", "received_events_url": "/received_events",
}

func (s *Sim) githubUser(login string) object {
	id := s.accountID(login)
	api := s.githubAPIURL("/users/" + login)
	doc := object{
		"login": login, "id": id, "node_id": nodeID("User", id), "gravatar_id": "",
		"avatar_url": s.githubWebURL("/avatars/" + strconv.FormatInt(id, 10)),
		"url":        api, "html_url": s.githubWebURL("/" + login), "type": "User", "site_admin": false,
	}
	if strings.HasSuffix(login, "[bot]") {
		doc["type"], doc["node_id"] = "Bot", nodeID("Bot", id)
	}
	for k, suffix := range userLinks {
		doc[k] = api + suffix
	}
	return doc
}

// githubOwner is the account that a repository belongs to: an organisation,
// unless a person goes by the name.
func (s *Sim) githubOwner(login string) object {
	doc := s.githubUser(login)
	if !s.isPerson(login) {
		doc["type"] = "Organization"
		doc["node_id"] = nodeID("Organization", s.accountID(login))
	}
	return doc
}

func (s *Sim) githubOrganization(login string) object {
	id := s.accountID(login)
	api := s.githubAPIURL("/orgs/" + login)
	return object{
		"login": login, "id": id, "node_id": nodeID("Organization", id), "url": api, "description": "",
		"avatar_url": s.githubWebURL("/avatars/" + strconv.FormatInt(id, 10)),
		"repos_url":  api + "/repos", "events_url": api + "/events", "hooks_url": api + "/hooks",
		"issues_url": api + "/issues", "members_url": api + "/members{/member}",
		"public_members_url": api + "/public_members{/member}",
	}
}

// repositoryLinks are the links of a repository below its API URL.
var repositoryLinks = map[string]string{
	"archive_url": "/{archive_format}{/ref}", "assignees_url": "/assignees{/user}", "blobs_url": "/git/blobs{/sha}",
	"branches_url": "/branches{/branch}", "collaborators_url": "/collaborators{/collaborator}",
	"comments_url": "/comments{/number}", "commits_url": "/commits{/sha}", "compare_url": "/compare/{base}...{head}",
	"contents_url": "/contents/{+path}", "contributors_url": "/contributors", "deployments_url": "/deployments",
	"downloads_url": "/downloads", "events_url": "/events", "forks_url": "/forks",
	"git_commits_url": "/git/commits{/sha}", "git_refs_url": "/git/refs{/sha}", "git_tags_url": "/git/tags{/sha}",
	"hooks_url": "/hooks", "issue_comment_url": "/issues/comments{/number}", "issue_events_url": "/issues/events{/number}",
	"issues_url": "/issues{/number}", "keys_url": "/keys{/key_id}", "labels_url": "/labels{/name}",
	"languages_url": "/languages", "merges_url": "/merges", "milestones_url": "/milestones{/number}",
	"notifications_url": "/notifications{?since,all,participating}", "pulls_url": "/pulls{/number}",
	"releases_url": "/releases{/id}", "stargazers_url": "/stargazers", "statuses_url": "/statuses/{sha}",
	"subscribers_url": "/subscribers", "subscription_url": "/subscription", "tags_url": "/tags", "teams_url": "/teams",
	"trees_url": "/git/trees{/sha}",
}

// githubMinimal is a repository as it stands inside other documents.
func (s *Sim) githubMinimal(id int64, fullName string, private bool) object {
	api := s.githubAPIURL("/repos/" + fullName)
	doc := object{
		"id": id, "node_id": nodeID("Repository", id), "name": nameOf(fullName), "full_name": fullName,
		"private": private, "owner": s.githubOwner(ownerOf(fullName)), "html_url": s.githubWebURL("/" + fullName),
		"description": nil, "fork": false, "url": api,
	}
	for k, suffix := range repositoryLinks {
		doc[k] = api + suffix
	}
	return doc
}

// githubRepository is a repository as it stands in webhook payloads.
func (s *Sim) githubRepository(r *Repository) object {
	doc := s.githubMinimal(r.ID, r.FullName, r.Private)
	visibility := "public"
	if r.Private {
		visibility = "private"
	}
	pushed := r.CreatedAt
	if head, ok := r.Heads[r.DefaultBranch]; ok {
		pushed = head.At
	}
	web := s.githubWebURL("/" + r.FullName)
	for k, v := range (object{
		"git_url": strings.Replace(web, "http", "git", 1) + ".git", "ssh_url": "git@github.example:" + r.FullName + ".git",
		"clone_url": web + ".git", "svn_url": web, "mirror_url": nil, "homepage": nil, "language": "Go", "size": 1843,
		"stargazers_count": 12, "watchers_count": 12, "watchers": 12, "forks_count": 2, "forks": 2,
		"open_issues_count": 3, "open_issues": 3, "has_issues": true, "has_projects": true, "has_downloads": true,
		"has_wiki": true, "has_pages": false, "archived": r.Archived, "disabled": false, "license": nil,
		"is_template": false, "topics": []string{}, "visibility": visibility, "web_commit_signoff_required": false,
		"default_branch": r.DefaultBranch, "created_at": githubTime(r.CreatedAt),
		"updated_at": githubTime(pushed), "pushed_at": githubTime(pushed),
	}) {
		doc[k] = v
	}
	return doc
}

// githubListed is a repository as lists answer it, with what the caller may do
// there.
func (s *Sim) githubListed(who caller, r *Repository) object {
	doc := s.githubRepository(r)
	doc["has_discussions"], doc["allow_forking"] = false, true
	doc["permissions"] = s.shownPermissions(who, r)
	return doc
}

// githubFullRepository is a repository as its own request answers it.
func (s *Sim) githubFullRepository(who caller, r *Repository) object {
	doc := s.githubListed(who, r)
	doc["network_count"], doc["subscribers_count"] = 2, 4
	if owner := s.githubOwner(ownerOf(r.FullName)); owner["type"] == "Organization" {
		doc["organization"] = owner
	}
	return doc
}
