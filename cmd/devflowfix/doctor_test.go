package main

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/harness"
)

func TestTheFormOfTheAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		base    string
		private bool
		want    state
		says    string
	}{
		{"https://dff.example.com", false, well, "can reach"},
		{"https://dff.example.com:8443", false, well, "can reach"},
		{"http://localhost:8080", false, warning, "private network"},
		{"https://10.1.2.3", false, warning, "private network"},
		{"https://buildbox", false, warning, "private network"},
		{"http://localhost:8080", true, well, "ALLOW_PRIVATE_NETWORKS"},
		{"https://140.82.121.4", false, warning, "IP address"},
		{"https://example.com/devflowfix", false, warning, "path"},
	}
	for _, tt := range tests {
		f := checkAddress(tt.base, tt.private)
		if f.State != tt.want || !strings.Contains(f.Found, tt.says) || tt.want == warning && (f.Why == "" || f.Cure == "") {
			t.Errorf("%s: %+v", tt.base, f)
		}
	}
}

func TestAnAppIsComparedWithWhatIsNeeded(t *testing.T) {
	t.Parallel()
	const hook = "https://dff.example/api/github/hook"
	manifest := forge.NewManifest("DevFlowFix", "https://dff.example", hook, "", "")
	right := func() forge.AppSettings {
		return forge.AppSettings{Slug: "devflowfix", Permissions: manifest.DefaultPermissions, Events: manifest.DefaultEvents, HookURL: hook, HasSecret: true}
	}
	if f := checkAppSettings(right(), hook); f.State != "" {
		t.Errorf("as it should be: %+v", f)
	}
	less := right()
	less.Permissions = maps.Clone(less.Permissions)
	less.Permissions["checks"] = "read"
	if f := checkAppSettings(less, hook); f.State != warning || !strings.Contains(f.Found, "checks: write") || f.Cure == "" {
		t.Errorf("with less than it can use: %+v", f)
	}
	tests := []struct {
		name   string
		change func(*forge.AppSettings)
		want   string
	}{
		{"an event", func(s *forge.AppSettings) { s.Events = []string{"push", "pull_request"} }, "the event workflow_run"},
		{"a permission", func(s *forge.AppSettings) { s.Permissions = map[string]string{} }, "actions: read"},
		{"another hook", func(s *forge.AppSettings) { s.HookURL = "https://old.example/hook" }, "https://old.example/hook"},
		{"no secret", func(s *forge.AppSettings) { s.HasSecret = false }, "no secret"},
		{"no certificates", func(s *forge.AppSettings) { s.InsecureTLS = true }, "certificates"},
	}
	for _, tt := range tests {
		given := right()
		tt.change(&given)
		if f := checkAppSettings(given, hook); f.State != wrong || !strings.Contains(f.Found, tt.want) || f.Cure == "" {
			t.Errorf("%s: %+v", tt.name, f)
		}
	}
}

func TestTheDoctorVisitsAnInstallation(t *testing.T) {
	t.Parallel()
	w := harness.Start(t, harness.Options{NoWorker: true, GitHubApp: true})
	findings := func(environ []string) (int, map[string]finding) {
		code, stdout, stderr := call(t, environ, "doctor", "--json")
		var told struct {
			Healthy  bool      `json:"healthy"`
			Findings []finding `json:"findings"`
		}
		if err := json.Unmarshal([]byte(stdout), &told); err != nil || told.Healthy != (code == 0) {
			t.Fatalf("%d, %v: %s%s", code, err, stdout, stderr)
		}
		byName := map[string]finding{}
		for _, f := range told.Findings {
			byName[f.Name] = f
		}
		return code, byName
	}
	code, found := findings(w.Environ)
	for _, name := range []string{"settings", "address", "PostgreSQL", "server", "isolation", "key", "Redis", "GitHub", "GitHub clock", "GitLab", "GitLab clock", "GitHub App"} {
		if f := found[name]; f.State != well {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	code, found = findings([]string{"DATABASE_URL=mysql://x"})
	if f := found["settings"]; code != exitFailure || f.State != wrong || f.Cure == "" {
		t.Errorf("without settings: %d, %+v", code, f)
	}
}
