package forgesim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Installation is the GitHub App on an account. What it may do is what the
// account granted, which may be less than the App asks for by now.
type Installation struct {
	ID            int64             `json:"id"`
	Account       string            `json:"account"`
	Selection     string            `json:"selection"` // all or selected
	RepositoryIDs []int64           `json:"repository_ids,omitempty"`
	Repositories  []string          `json:"repositories"` // those that it reaches now
	Permissions   map[string]string `json:"permissions"`
	Events        []string          `json:"events"` // nil: everything
	SuspendedAt   time.Time         `json:"suspended_at,omitzero"`
	SuspendedBy   string            `json:"suspended_by,omitempty"`
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`
}

func (in *Installation) suspended() bool { return !in.SuspendedAt.IsZero() }

// covers reports whether the installation reaches a repository.
func (in *Installation) covers(r *Repository) bool {
	return r.Provider == GitHub && !r.Removed && strings.EqualFold(ownerOf(r.FullName), in.Account) &&
		(in.Selection == "all" || slices.Contains(in.RepositoryIDs, r.ID))
}

// hears reports whether the installation sends an event.
func (in *Installation) hears(name string) bool {
	return !in.suspended() && (in.Events == nil || slices.Contains(in.Events, name))
}

// covered lists the repositories that an installation reaches.
func (s *Sim) covered(in *Installation) []*Repository {
	var all []*Repository
	for _, r := range s.state.Repositories {
		if in.covers(r) {
			all = append(all, r)
		}
	}
	return all
}

func (s *Sim) installationByID(id int64) *Installation {
	for _, in := range s.state.Installations {
		if in.ID == id {
			return in
		}
	}
	return nil
}

// installationFor finds the installation that reaches a repository.
func (s *Sim) installationFor(r *Repository) *Installation {
	for _, in := range s.state.Installations {
		if in.covers(r) {
			return in
		}
	}
	return nil
}

func (s *Sim) installationOn(account string) *Installation {
	for _, in := range s.state.Installations {
		if strings.EqualFold(in.Account, account) {
			return in
		}
	}
	return nil
}

// Installations lists the installations of the GitHub App, oldest first.
func (s *Sim) Installations() []Installation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Installation
	for _, in := range s.state.Installations {
		c := *in
		c.RepositoryIDs, c.Events, c.Permissions = slices.Clone(in.RepositoryIDs), slices.Clone(in.Events), maps.Clone(in.Permissions)
		c.Repositories = []string{}
		for _, r := range s.covered(in) {
			c.Repositories = append(c.Repositories, r.FullName)
		}
		all = append(all, c)
	}
	return all
}

// newInstallation makes an installation with what the App asks for now.
func (s *Sim) newInstallation(id int64, account string) *Installation {
	app := s.state.App
	return &Installation{
		ID: id, Account: account, Selection: "all", Permissions: maps.Clone(app.Permissions), Events: slices.Clone(app.Events),
		CreatedAt: s.now(), UpdatedAt: s.now(),
	}
}

// Install puts the GitHub App on an account, as its owner would: on the named
// repositories or, when there are none, on all. The App is told; Wait waits
// for it.
func (s *Sim) Install(account string, repositories []string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, err := s.install(account, repositories, tokenOwner)
	if err != nil {
		return 0, err
	}
	return in.ID, nil
}

func (s *Sim) install(account string, repositories []string, by string) (*Installation, error) {
	switch {
	case s.state.App == nil:
		return nil, errors.New("install: there is no GitHub App")
	case !validLogin(GitHub, account):
		return nil, fmt.Errorf("install: %q is not an account", account)
	case s.installationOn(account) != nil:
		return nil, fmt.Errorf("install: the App is already on %s", account)
	}
	ids, err := s.repositoriesOf(account, repositories)
	if err != nil {
		return nil, err
	}
	in := s.newInstallation(s.newID(installationIDs), account)
	if repositories != nil {
		in.Selection, in.RepositoryIDs = "selected", ids
	}
	s.state.Installations = append(s.state.Installations, in)
	s.changed()
	doc := s.installationEvent(in, by)
	doc["repositories"], doc["requester"] = s.briefly(s.covered(in)), nil
	s.tellApp(in, "installation", "created", doc, false)
	return in, nil
}

// repositoriesOf finds repositories of an account by name.
func (s *Sim) repositoriesOf(account string, names []string) ([]int64, error) {
	var ids []int64
	for _, name := range names {
		if !strings.Contains(name, "/") {
			name = account + "/" + name
		}
		r := s.visible(GitHub, name)
		if r == nil || !strings.EqualFold(ownerOf(r.FullName), account) {
			return nil, fmt.Errorf("%s has no repository %s", account, name)
		}
		if !slices.Contains(ids, r.ID) {
			ids = append(ids, r.ID)
		}
	}
	return ids, nil
}

// InstallationChange is what people do to an installation. What is left out
// stays as it is.
type InstallationChange struct {
	// Add and Remove change the selected repositories.
	Add    []string `json:"add"`
	Remove []string `json:"remove"`
	// SelectAll chooses all repositories, or (false) only those in Add.
	SelectAll *bool `json:"select_all"`
	Suspend   *bool `json:"suspend"`
	// RequestPermissions changes what the App asks for: the installation goes
	// on with what it granted, until AcceptPermissions. What the App does
	// without (an empty level) is gone at once, from all installations.
	RequestPermissions map[string]string `json:"request_permissions"`
	AcceptPermissions  bool              `json:"accept_permissions"`
	// RenameAccount gives the account another login.
	RenameAccount string `json:"rename_account"`
	// Drop loses the deliveries: nothing is sent, and the log says so.
	Drop bool `json:"drop"`
}

// ChangeInstallation changes an installation as its owner would (or, for
// RequestPermissions, the App's). The App is told; Wait waits for it.
func (s *Sim) ChangeInstallation(id int64, change InstallationChange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.installationByID(id)
	if in == nil {
		return fmt.Errorf("installation %d: %w", id, errNotThere)
	}
	if err := s.changeRepositories(in, change, tokenOwner); err != nil {
		return err
	}
	if change.RenameAccount != "" {
		if err := s.renameAccount(in, change.RenameAccount, change.Drop); err != nil {
			return err
		}
	}
	s.requestPermissions(change.RequestPermissions)
	if change.AcceptPermissions {
		s.acceptPermissions(in, change.Drop)
	}
	if change.Suspend != nil && *change.Suspend != in.suspended() {
		s.suspend(in, *change.Suspend, change.Drop)
	}
	in.UpdatedAt = s.now()
	s.changed()
	return nil
}

// changeRepositories changes what an installation reaches. A change between
// all and selected is told as added, with nothing in repositories_removed.
// https://docs.github.com/webhooks/webhook-events-and-payloads#installation_repositories
func (s *Sim) changeRepositories(in *Installation, change InstallationChange, by string) error {
	add, err := s.repositoriesOf(in.Account, change.Add)
	if err != nil {
		return err
	}
	remove, err := s.repositoriesOf(in.Account, change.Remove)
	if err != nil {
		return err
	}
	switch {
	case change.SelectAll != nil && *change.SelectAll:
		s.selectAll(in, change.Drop, by)
		return nil
	case change.SelectAll != nil:
		in.Selection, in.RepositoryIDs = "selected", add
		s.tellRepositories(in, add, nil, by, change.Drop)
		return nil
	case len(add)+len(remove) > 0 && in.Selection == "all":
		return fmt.Errorf("installation %d has all repositories", in.ID)
	}
	has := func(id int64) bool { return slices.Contains(in.RepositoryIDs, id) }
	add = slices.DeleteFunc(add, has)
	remove = slices.DeleteFunc(remove, func(id int64) bool { return !has(id) })
	if len(add) > 0 {
		in.RepositoryIDs = append(in.RepositoryIDs, add...)
		s.tellRepositories(in, add, nil, by, change.Drop)
	}
	if len(remove) > 0 {
		in.RepositoryIDs = slices.DeleteFunc(in.RepositoryIDs, func(id int64) bool { return slices.Contains(remove, id) })
		s.tellRepositories(in, nil, remove, by, change.Drop)
	}
	return nil
}

func (s *Sim) selectAll(in *Installation, drop bool, by string) {
	had := in.RepositoryIDs
	if in.Selection == "all" {
		return
	}
	in.Selection, in.RepositoryIDs = "all", nil
	var added []int64
	for _, r := range s.covered(in) {
		if !slices.Contains(had, r.ID) {
			added = append(added, r.ID)
		}
	}
	s.tellRepositories(in, added, nil, by, drop)
}

// renameAccount gives an account another login. Its id stays, its
// repositories move along and redirect.
func (s *Sim) renameAccount(in *Installation, next string, drop bool) error {
	was := in.Account
	if !validLogin(GitHub, next) {
		return fmt.Errorf("rename %s: %q is not an account", was, next)
	}
	var own []*Repository
	for _, r := range s.state.Repositories {
		if r.Provider != GitHub || !strings.EqualFold(ownerOf(r.FullName), was) {
			continue
		}
		if s.repositoryByName(GitHub, next+"/"+nameOf(r.FullName)) != nil {
			return fmt.Errorf("rename %s: %s has a repository %s", was, next, nameOf(r.FullName))
		}
		own = append(own, r)
	}
	if s.state.AccountIDs == nil {
		s.state.AccountIDs = map[string]int64{}
	}
	s.state.AccountIDs[strings.ToLower(next)] = s.accountID(was)
	for _, r := range own {
		r.FormerNames = append(r.FormerNames, r.FullName)
		r.FullName = next + "/" + nameOf(r.FullName)
	}
	in.Account = next
	s.tellRename(in, was, drop)
	return nil
}

func (s *Sim) requestPermissions(change map[string]string) {
	app := s.state.App
	for name, level := range change {
		if level != "" {
			app.Permissions[name] = level
			continue
		}
		delete(app.Permissions, name)
		for _, in := range s.state.Installations {
			delete(in.Permissions, name)
		}
	}
}

func (s *Sim) acceptPermissions(in *Installation, drop bool) {
	in.Permissions, in.Events = maps.Clone(s.state.App.Permissions), slices.Clone(s.state.App.Events)
	s.tellInstallation(in, "new_permissions_accepted", tokenOwner, drop)
}

func (s *Sim) suspend(in *Installation, on, drop bool) {
	in.SuspendedAt, in.SuspendedBy = time.Time{}, ""
	action := "unsuspend"
	if on {
		in.SuspendedAt, in.SuspendedBy = s.now(), tokenOwner
		action = "suspend"
	}
	s.tellInstallation(in, action, tokenOwner, drop)
}

// Uninstall takes the GitHub App off an account: its tokens do not work any
// more by the time that the App hears of it. drop loses the delivery.
func (s *Sim) Uninstall(id int64, drop bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.installationByID(id)
	if in == nil {
		return fmt.Errorf("installation %d: %w", id, errNotThere)
	}
	s.uninstall(in, drop)
	return nil
}

func (s *Sim) uninstall(in *Installation, drop bool) {
	s.tellInstallation(in, "deleted", tokenOwner, drop)
	s.state.Installations = slices.DeleteFunc(s.state.Installations, func(other *Installation) bool { return other == in })
	s.changed()
}
