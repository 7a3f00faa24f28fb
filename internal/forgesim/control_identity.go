package forgesim

import (
	"fmt"
	"net/http"
)

// identityAPI is the part of the control API about people and applications.
func (s *Sim) identityAPI() []controlRoute {
	return []controlRoute{
		{"PUT /control/members", "Gives a person a permission in a repository: pull, triage, push, maintain, admin; GitLab: guest, reporter, developer, " +
			"maintainer, owner. None takes it away.",
			`{"provider":"github","repository":"acme/parcel","login":"mira-lund","permission":"admin"}`, s.controlSetMember},
		{"DELETE /control/grants", "Takes back what a person granted to applications.", `{"provider":"github","login":"mira-lund"}`, s.controlRevokeGrant},
		{"PUT /control/oauth/{provider}", "Registers the OAuth app of a forge.",
			`{"client_id":"app","client_secret":"s3cret","redirect_uris":["http://127.0.0.1:8080/callback"]}`, s.controlOAuth},
		{"GET /control/app", "Shows the GitHub App, with its secrets.", "", s.controlShowApp},
		{"PUT /control/app", "Registers the GitHub App.", `{"id":4711,"webhook_url":"http://127.0.0.1:8080/hook","webhook_secret":"s3cret"}`, s.controlSetApp},
		{"GET /control/installations", "Lists the installations of the GitHub App.", "", list(s.Installations)},
		{"POST /control/installations", "Installs the GitHub App on an account: on the repositories or, without any, on all.",
			`{"account":"acme","repositories":["parcel"]}`, s.controlInstall},
		{"PATCH /control/installations/{installation}", "Changes an installation. Also: select_all, suspend, request_permissions, accept_permissions, rename_account; " +
			"drop loses the deliveries.", `{"add":["crate"],"remove":["parcel"]}`, s.controlChangeInstallation},
		{"DELETE /control/installations/{installation}", "Takes the GitHub App off an account; drop loses the delivery.", `{"drop":true}`, s.controlUninstall},
		{"GET /control/secrets", "Lists every token, code and key that was ever handed out.", "", list(s.IssuedSecrets)},
	}
}

func (s *Sim) controlSetMember(r *http.Request) (any, error) {
	var q struct {
		Provider   string `json:"provider"`
		Repository string `json:"repository"`
		Login      string `json:"login"`
		Permission string `json:"permission"`
	}
	if err := read(r, &q); err != nil {
		return nil, err
	}
	return nil, s.SetMember(q.Provider, q.Repository, q.Login, q.Permission)
}

func (s *Sim) controlRevokeGrant(r *http.Request) (any, error) {
	var q struct {
		Provider string `json:"provider"`
		Login    string `json:"login"`
	}
	if err := read(r, &q); err != nil {
		return nil, err
	}
	return nil, s.RevokeGrant(q.Provider, q.Login)
}

func (s *Sim) controlOAuth(r *http.Request) (any, error) {
	var q OAuthClient
	if err := read(r, &q); err != nil {
		return nil, err
	}
	return nil, s.SetOAuthClient(r.PathValue("provider"), &q)
}

func (s *Sim) controlShowApp(*http.Request) (any, error) {
	app := s.RegisteredApp()
	if app == nil {
		return nil, fmt.Errorf("GitHub App: %w", errNotThere)
	}
	return app, nil
}

func (s *Sim) controlSetApp(r *http.Request) (any, error) {
	var app App
	if err := read(r, &app); err != nil {
		return nil, err
	}
	return nil, s.SetApp(&app)
}

func (s *Sim) controlInstall(r *http.Request) (any, error) {
	var q struct {
		Account      string   `json:"account"`
		Repositories []string `json:"repositories"`
	}
	if err := read(r, &q); err != nil {
		return nil, err
	}
	id, err := s.Install(q.Account, q.Repositories)
	if err != nil {
		return nil, err
	}
	return object{"id": id}, nil
}

func (s *Sim) controlChangeInstallation(r *http.Request) (any, error) {
	var change InstallationChange
	if err := read(r, &change); err != nil {
		return nil, err
	}
	return nil, s.ChangeInstallation(parseID(r.PathValue("installation")), change)
}

func (s *Sim) controlUninstall(r *http.Request) (any, error) {
	var q struct {
		Drop bool `json:"drop"`
	}
	if err := read(r, &q); err != nil {
		return nil, err
	}
	return nil, s.Uninstall(parseID(r.PathValue("installation")), q.Drop)
}
