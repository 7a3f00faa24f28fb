package store_test

import (
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/store"
)

// install makes an installation and its connections what GitHub says.
func (w *world) install(id int64, repos ...forge.Repository) store.Synced {
	w.Helper()
	in := forge.Installation{ID: id, Account: "acme", AccountID: 70 + id, Selection: "all", Events: []string{"push"}}
	hook := store.AppHook{URL: "https://dff.example/app", Status: store.HookActive}
	done, _, err := w.SyncInstallation(w.Context(), store.InstallationSync{Installation: in, Repositories: repos, Hook: hook, AskedAt: now})
	if err != nil {
		w.Fatal(err)
	}
	return done
}

func github(id int64, fullName string) forge.Repository {
	return forge.Repository{Provider: forge.GitHub, ID: id, FullName: fullName}
}

// member logs a user in by the App, with an answer of GitHub's to what they
// may see.
func (w *world) member(name string, list ...forge.UserRepository) string {
	w.Helper()
	id := w.user(name)
	grant := forge.Grant{
		GrantKey: forge.GrantKey{UserID: id, Provider: forge.GitHub, Client: forge.AppClient}, Login: name,
		Tokens: forge.Tokens{Access: secret.NewText("ghu_" + name), Scopes: []string{}},
	}
	if _, err := w.SaveGrant(w.Context(), grant); err != nil {
		w.Fatal(err)
	}
	if err := w.ReplaceAccess(w.Context(), id, list, time.Now()); err != nil {
		w.Fatal(err)
	}
	return id
}

func TestAConnectionFollowsItsRepositoryToAnotherInstallation(t *testing.T) {
	t.Parallel()
	w := start(t)
	if done := w.install(1, github(42, "acme/shop"), github(43, "acme/site"), github(42, "acme/shop")); !done.Installed || done.Added != 2 {
		t.Errorf("installed: %+v", done)
	}
	id, err := w.ConnectionID(t.Context(), w.member("ann", forge.UserRepository{RepositoryID: 42, InstallationID: 1, Permission: forge.ReadPermission}), github(42, "acme/shop"))
	if err != nil {
		t.Fatal(err)
	}
	if done := w.install(2, github(42, "other/shop")); done.Added != 0 || done.Renamed != 1 {
		t.Errorf("transferred: %+v", done)
	}
	if done := w.install(1, github(43, "acme/site")); done != (store.Synced{}) {
		t.Errorf("the old installation: %+v", done)
	}
	c, err := w.Connection(t.Context(), id)
	if err != nil || c.FullName != "other/shop" || *c.InstallationID != 2 {
		t.Errorf("the connection is %+v, %v", c, err)
	}
	if n, err := w.RemoveInstallation(t.Context(), 2); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if n := w.count(`SELECT count(*) FROM repository_connections`); n != 1 {
		t.Errorf("%d connections are left", n)
	}
}

func TestWhatAUserSeesByTheAppIsWhatGitHubSaidWithinTheHour(t *testing.T) {
	t.Parallel()
	w := start(t)
	shop := github(42, "acme/shop")
	w.install(1, shop)
	allowed := forge.UserRepository{RepositoryID: 42, InstallationID: 1, Permission: forge.WritePermission}
	ann := w.member("ann", allowed)
	sees := func() bool {
		_, err := w.ConnectionID(t.Context(), ann, shop)
		if err != nil && !fault.Is(err, fault.NotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	if !sees() {
		t.Error("ann does not see it")
	}
	no := false
	id, _ := w.ConnectionID(t.Context(), ann, shop)
	_, _, err := w.PatchConnection(t.Context(), ann, id, store.ConnectionPatch{IsEnabled: &no})
	wantKind(t, "a change without admin", err, fault.Forbidden)
	if c, err := w.ConnectionOf(t.Context(), ann, id); err != nil || c.Permission != forge.WritePermission {
		t.Errorf("ConnectionOf = %+v, %v", c, err)
	}
	if err := w.ReplaceAccess(t.Context(), ann, nil, time.Now()); err != nil || sees() {
		t.Errorf("after it was taken away: %t, %v", sees(), err)
	}
	if err := w.ReplaceAccess(t.Context(), ann, []forge.UserRepository{allowed}, time.Now().Add(-61*time.Minute)); err != nil || sees() {
		t.Errorf("an hour later: %t, %v", sees(), err)
	}
	// Of a suspended installation GitHub says nothing.
	if err := w.ReplaceAccess(t.Context(), ann, []forge.UserRepository{allowed}, time.Now()); err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE installations SET suspended_at = now()`)
	if err := w.ReplaceAccess(t.Context(), ann, nil, time.Now()); err != nil || !sees() {
		t.Errorf("while it is suspended: %t, %v", sees(), err)
	}
	// Own connections hide the App's.
	own := w.connect(wanted(ann, nil))
	if list, err := w.ConnectionsOf(t.Context(), ann, "", "", 10); err != nil || len(list) != 1 || list[0].ID != own.ID || list[0].Permission != forge.AdminPermission {
		t.Errorf("ConnectionsOf = %+v, %v", list, err)
	}
	key := forge.GrantKey{UserID: ann, Provider: forge.GitHub, Client: forge.AppClient}
	if err := w.LoseGrant(t.Context(), key, secret.NewText("ghu_ann"), "revoked"); err != nil {
		t.Fatal(err)
	}
	if err := w.ReplaceAccess(t.Context(), ann, []forge.UserRepository{allowed}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := w.count(`SELECT count(*) FROM repository_access`); n != 0 {
		t.Errorf("%d rows without a grant", n)
	}
}
