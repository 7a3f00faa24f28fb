// Package config reads the settings of DevFlowFix: a YAML file, if there is
// one, and over it the environment, as platforms give it. It is strict: a name
// that nobody knows is a fault, and all faults are told at once, each with its
// cure. config.example.yml explains every setting.
package config

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"

	"github.com/devflowfix/devflowfix/internal/secret"
)

// Config is the settings of one process.
type Config struct {
	// Addr is where web listens, host:port. ADDR, else :PORT, else :8080.
	Addr string
	// BaseURL is where the forges reach web, without a slash at its end.
	BaseURL string
	// DatabaseURL and RedisURL hold passwords.
	DatabaseURL secret.Text
	RedisURL    secret.Text
	// DatabaseConnections is how many connections one process opens at most.
	DatabaseConnections int
	// Keyring encrypts what is stored; from OAUTH_TOKEN_ENCRYPTION_KEY.
	Keyring *secret.Keyring
	GitHub  GitHub
	GitLab  GitLab
	// OpsPassword opens /ops; closed when empty.
	OpsPassword secret.Text
	LogLevel    string
	LogFormat   string // json or console
	// Fetchers and Concurrency say how a worker process serves the queues.
	Fetchers    int
	Concurrency int
	// RetentionDays is for how many days deliveries are kept.
	RetentionDays int
}

// GitHub is how GitHub is reached.
type GitHub struct {
	APIURL        string
	Token         secret.Text
	AppID         int64
	WebhookSecret secret.Text
	PrivateKey    secret.Text
}

// GitLab is how GitLab is reached.
type GitLab struct {
	URL   string
	Token secret.Text
}

// setting is one name that the file (in lower case) and the environment know.
type setting struct {
	name string
	// read checks a value and puts it into the configuration. The sentence it
	// returns says what is wrong, never the value.
	read func(*Config, string) string
	// preset is taken when nothing is set.
	preset string
	// missing says how to get the setting; empty when it may be absent.
	missing string
}

// Problems is everything that is wrong with the settings.
type Problems struct{ List []string }

// Error lists the problems, a line each.
func (p *Problems) Error() string {
	return "The settings are not complete. config.example.yml explains each.\n  - " + strings.Join(p.List, "\n  - ")
}

// Load reads the file at path, if it is not empty, and the environment, given
// as name=value, over it. The error is *Problems when settings are missing or
// malformed.
func Load(path string, environ []string) (Config, error) {
	values, problems := fileValues(path)
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if value != "" && slices.ContainsFunc(settings, func(s setting) bool { return s.name == name }) {
			values[name] = value
		}
	}
	var c Config
	for _, s := range settings {
		value := values[s.name]
		if value == "" {
			value = s.preset
		}
		switch {
		case value != "":
			if wrong := s.read(&c, value); wrong != "" {
				problems = append(problems, s.name+" is malformed: "+wrong)
			}
		case s.missing != "":
			problems = append(problems, s.name+" is missing: "+s.missing)
		}
	}
	problems = append(problems, c.together()...)
	if len(problems) > 0 {
		return Config{}, &Problems{problems}
	}
	return c, nil
}

// fileValues reads the file. Its names are those of the environment in lower
// case.
func fileValues(path string) (map[string]string, []string) {
	values := map[string]string{}
	if path == "" {
		return values, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return values, []string{fmt.Sprintf("the settings file cannot be read: %v", err)}
	}
	k := koanf.New("")
	if err := k.Load(rawbytes.Provider(raw), yaml.Parser()); err != nil {
		return values, []string{fmt.Sprintf("the settings file %s is not YAML", path)}
	}
	var problems []string
	for _, key := range k.Keys() {
		name := strings.ToUpper(key)
		if !slices.ContainsFunc(settings, func(s setting) bool { return s.name == name }) {
			problems = append(problems, fmt.Sprintf("the settings file has %q, which is no setting", key))
			continue
		}
		values[name] = k.String(key)
	}
	return values, problems
}

// together checks what one setting alone cannot tell.
func (c *Config) together() []string {
	var problems []string
	app := 0
	for _, set := range []bool{c.GitHub.AppID != 0, !c.GitHub.WebhookSecret.IsZero(), !c.GitHub.PrivateKey.IsZero()} {
		if set {
			app++
		}
	}
	if app != 0 && app != 3 {
		problems = append(problems, "the GitHub App needs GITHUB_APP_INTEGRATION_ID, GITHUB_APP_WEBHOOK_SECRET and GITHUB_APP_PRIVATE_KEY together; find them on the App's settings page")
	}
	if c.GitHub.Token.IsZero() && c.GitLab.Token.IsZero() && app == 0 {
		problems = append(problems, "no forge has credentials: set GITHUB_TOKEN (scopes repo and admin:repo_hook), GITLAB_TOKEN (scope api), or the GitHub App's settings; `devflowfix up` brings a simulator instead")
	}
	return problems
}
