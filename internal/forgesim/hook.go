package forgesim

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Hook is a webhook of a repository or project, with its secrets in clear so
// that somebody else can sign as the forge does.
type Hook struct {
	Provider     string `json:"provider"`
	Repository   string `json:"repository"`
	RepositoryID int64  `json:"repository_id"`
	ID           int64  `json:"id"`
	URL          string `json:"url"`
	// Events are the forge's own names: workflow_run, pipeline_events, …
	Events      []string `json:"events"`
	ContentType string   `json:"content_type"` // json or form; GitLab: json
	// Secret is GitHub's HMAC key or GitLab's token.
	Secret       string `json:"secret"`
	SigningToken string `json:"signing_token"` // GitLab's whsec_… key
	Active       bool   `json:"active"`
	// AlertStatus is GitLab's: executable, temporarily_disabled or disabled.
	AlertStatus string    `json:"alert_status,omitempty"`
	InsecureTLS bool      `json:"insecure_tls"` // takes any certificate
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`

	// LastResponse is the outcome of the last delivery; GitHub shows it.
	LastResponse LastResponse `json:"last_response"`

	// The rest is GitLab's.
	Name           string         `json:"name,omitempty"`
	Description    string         `json:"description,omitempty"`
	BranchFilter   string         `json:"push_events_branch_filter,omitempty"`
	RecentFailures int            `json:"recent_failures,omitempty"`
	DisabledUntil  time.Time      `json:"disabled_until,omitzero"`
	CustomHeaders  []CustomHeader `json:"custom_headers,omitempty"`
}

// LastResponse is the outcome of a hook's last delivery; Code is zero before
// the first.
type LastResponse struct {
	Code    int    `json:"code"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

// CustomHeader is a header that a GitLab hook sends in addition.
type CustomHeader struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Hooks lists all hooks of both forges, oldest first.
func (s *Sim) Hooks() []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Hook
	for _, h := range s.state.Hooks {
		all = append(all, s.view(h))
	}
	return all
}

// view is a copy of the hook as callers see it.
func (s *Sim) view(h *Hook) Hook {
	c := *h
	c.Events = slices.Clone(h.Events)
	c.CustomHeaders = slices.Clone(h.CustomHeaders)
	if r := s.repositoryByID(h.Provider, h.RepositoryID); r != nil {
		c.Repository = r.FullName
	}
	if h.Provider == GitLab {
		c.AlertStatus = s.alertStatus(h)
		c.Active = c.AlertStatus == "executable"
	}
	return c
}

// EditHook changes a hook as a person would in the forge's settings. It
// reports whether there is such a hook.
func (s *Sim) EditHook(provider string, id int64, edit func(*Hook)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.state.Hooks, func(h *Hook) bool { return h.Provider == provider && h.ID == id })
	if i < 0 {
		return false
	}
	edit(s.state.Hooks[i])
	s.changed()
	return true
}

// DeleteHook deletes a hook as a person would in the forge's settings. It
// reports whether there was such a hook.
func (s *Sim) DeleteHook(provider string, id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.state.Hooks {
		if h.Provider == provider && h.ID == id {
			s.removeHook(h)
			return true
		}
	}
	return false
}

// CopyHook makes another hook like one that is there, as a person would who
// adds it by hand.
func (s *Sim) CopyHook(provider string, id int64) (Hook, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.state.Hooks, func(h *Hook) bool { return h.Provider == provider && h.ID == id })
	if i < 0 {
		return Hook{}, fmt.Errorf("%s has no hook %d", provider, id)
	}
	again := s.view(s.state.Hooks[i])
	again.ID = s.newID(hookIDs)
	s.state.Hooks = append(s.state.Hooks, &again)
	s.changed()
	return s.view(&again), nil
}

// removeHook deletes a hook; GitHub tells the hook itself, if it listens.
func (s *Sim) removeHook(gone *Hook) {
	if r := s.repositoryByID(gone.Provider, gone.RepositoryID); r != nil && gone.Provider == GitHub {
		if gone.Active && slices.Contains(gone.Events, "meta") {
			s.send([]*shipment{s.githubShipment(gone, s.metaEvent(r, gone))})
		}
	}
	s.state.Hooks = slices.DeleteFunc(s.state.Hooks, func(h *Hook) bool { return h == gone })
	s.changed()
}

// hooksOf lists the hooks of a repository, oldest first.
func (s *Sim) hooksOf(r *Repository) []*Hook {
	var own []*Hook
	for _, h := range s.state.Hooks {
		if h.Provider == r.Provider && h.RepositoryID == r.ID {
			own = append(own, h)
		}
	}
	return own
}

// hookOf finds a hook of a repository; nil is the forge's 404.
func (s *Sim) hookOf(r *Repository, id int64) *Hook {
	for _, h := range s.hooksOf(r) {
		if h.ID == id {
			return h
		}
	}
	return nil
}

// deliverable reports whether a hook may have the URL.
func (s *Sim) deliverable(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(raw, " \"\n") {
		return false
	}
	return !s.cfg.PublicOnly || public(u.Hostname())
}

// public reports whether a host may be on the public internet, by its name
// alone.
func public(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local") {
		return false
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return net.ParseIP(host) == nil
	}
	return addr.IsGlobalUnicast() && !addr.IsPrivate()
}
