package forgesim

import (
	"strconv"
	"strings"
)

func (s *Sim) gitlabWebURL(path string) string { return s.publicURL + "/gitlab" + path }

func (s *Sim) gitlabUser(login string) object {
	p := personOf(login)
	return object{
		"id": p.id, "username": p.login, "name": p.name, "state": "active", "locked": false,
		"avatar_url": nil, "web_url": s.gitlabWebURL("/" + p.login),
	}
}

func (s *Sim) gitlabSelf(who caller) object {
	doc := s.gitlabUser(who.login)
	doc["email"] = personOf(who.login).email
	doc["created_at"], doc["bot"], doc["two_factor_enabled"] = "2024-03-01T09:00:00.000Z", false, true
	return doc
}

// gitlabProject is a project as the API shows it, with what the caller may do
// there as a member.
func (s *Sim) gitlabProject(who caller, r *Repository) object {
	visibility := "public"
	if r.Private {
		visibility = "private"
	}
	web := s.gitlabWebURL("/" + r.FullName)
	group := ownerOf(r.FullName)
	var access any
	if level := s.level(who, r); level > noAccess {
		access = object{"access_level": level, "notification_level": 3}
	}
	return object{
		"id": r.ID, "description": nil, "name": nameOf(r.FullName), "path": nameOf(r.FullName),
		"name_with_namespace": strings.ReplaceAll(r.FullName, "/", " / "), "path_with_namespace": r.FullName,
		"created_at": gitlabTime(r.CreatedAt), "default_branch": r.DefaultBranch, "tag_list": []string{}, "topics": []string{},
		"ssh_url_to_repo": s.gitlabSSH(r), "http_url_to_repo": web + ".git", "web_url": web,
		"readme_url": web + "/-/blob/" + r.DefaultBranch + "/README.md", "forks_count": 0, "star_count": 3, "avatar_url": nil,
		"last_activity_at": gitlabTime(r.CreatedAt), "visibility": visibility, "archived": r.Archived, "empty_repo": false,
		"namespace": object{
			"id": personOf(group).id, "name": nameOf("/" + group), "path": nameOf("/" + group), "kind": "group", "full_path": group,
			"parent_id": nil, "avatar_url": nil, "web_url": s.gitlabWebURL("/groups/" + group),
		},
		"permissions": object{"project_access": access, "group_access": nil},
	}
}

func (s *Sim) gitlabSSH(r *Repository) string { return "git@gitlab.example:" + r.FullName + ".git" }

// gitlabHookProject is a project as it stands in webhook payloads.
func (s *Sim) gitlabHookProject(r *Repository) object {
	level := 20
	if r.Private {
		level = 0
	}
	web := s.gitlabWebURL("/" + r.FullName)
	return object{
		"id": r.ID, "name": nameOf(r.FullName), "description": "", "web_url": web, "avatar_url": nil,
		"git_ssh_url": s.gitlabSSH(r), "git_http_url": web + ".git", "namespace": nameOf("/" + ownerOf(r.FullName)),
		"visibility_level": level, "path_with_namespace": r.FullName, "default_branch": r.DefaultBranch, "ci_config_path": nil,
	}
}

// gitlabHookUser is a user as it stands in webhook payloads; the email is
// hidden unless its owner made it public.
func gitlabHookUser(login string) object {
	p := personOf(login)
	return object{
		"id": p.id, "name": p.name, "username": p.login, "email": "[REDACTED]",
		"avatar_url": "https://www.gravatar.com/avatar/" + strconv.FormatInt(p.id, 16) + "?s=80&d=identicon",
	}
}

func (s *Sim) gitlabHookCommit(r *Repository, c Commit) object {
	p := personOf(c.Author)
	return object{
		"id": c.SHA, "message": c.Message + "\n", "title": title(c.Message), "timestamp": githubTime(c.At),
		"url":    s.gitlabWebURL("/" + r.FullName + "/-/commit/" + c.SHA),
		"author": object{"name": p.name, "email": p.email},
	}
}
