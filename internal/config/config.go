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
	"time"

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
	OIDC    OIDC
	// SlackURL is Slack's API and PagerDutyURL PagerDuty's events, both without
	// a slash at the end.
	SlackURL     string
	PagerDutyURL string
	Fixer        Fixer
	// Admins are operators by their accounts: github:LOGIN, gitlab:LOGIN or
	// oidc:NAME, in lower case.
	Admins []string
	// AllowPrivate lets forges and other outside addresses be in private
	// networks.
	AllowPrivate bool
	// ProxyHops is how many reverse proxies stand before web, each of which
	// adds an address to X-Forwarded-For.
	ProxyHops int
	// OpsPassword opens /ops; closed when empty.
	OpsPassword secret.Text
	LogLevel    string
	LogFormat   string // json or console
	Tracing     Tracing
	// WorkerAddr is where a worker process tells of itself, host:port; nowhere
	// when empty.
	WorkerAddr string
	// Fetchers and Concurrency say how a worker process serves the queues.
	Fetchers    int
	Concurrency int
	// RetentionDays is for how many days deliveries are kept.
	RetentionDays int
	// SecretMaxAge is how old the secret of a webhook may become.
	SecretMaxAge time.Duration
	// Unconnected says how to reach a forge when no setting tells; empty when
	// one does. A GitHub App in the database may be all that is needed.
	Unconnected string
}

// GitHub is how GitHub is reached.
type GitHub struct {
	APIURL string // with a slash at its end
	WebURL string // without one
	Token  secret.Text
	// The OAuth app by which users log in and authorise us.
	OAuth OAuth
	// The GitHub App, when it was not made by `devflowfix app create`.
	AppID         int64
	AppClient     OAuth
	WebhookSecret secret.Text
	PrivateKey    secret.Text
}

// GitLab is how GitLab is reached.
type GitLab struct {
	URL   string
	Token secret.Text
	OAuth OAuth
}

// OAuth is an OAuth application at a forge.
type OAuth struct {
	ClientID     string
	ClientSecret secret.Text
}

// IsZero reports whether there is none.
func (o OAuth) IsZero() bool { return o.ClientID == "" && o.ClientSecret.IsZero() }

// OIDC is the operator's own issuer of JWTs.
type OIDC struct {
	Issuer   string
	Audience string
}

// Fixer is the operator's program or endpoint that makes patches, if any, and
// the bound of what DevFlowFix proposes by itself.
type Fixer struct {
	Command []string // the program's path first
	URL     string
	Token   secret.Text // for the URL
	Timeout time.Duration
	PerDay  int // in one repository
}

// Tracing is where traces go.
type Tracing struct {
	// Endpoint is the base URL of a collector that takes OTLP over HTTP; empty:
	// there are no traces.
	Endpoint string
	// Headers are name=value, separated by commas, as OpenTelemetry has them.
	Headers secret.Text
	Service string
	Ratio   float64 // of the traces that are kept, 0 to 1
}

// HeaderValues are the headers by their names.
func (t Tracing) HeaderValues() map[string]string {
	values, _ := parseHeaders(t.Headers.Reveal()) // checked when it was read
	return values
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
	if c.GitHub.WebURL == "" {
		c.GitHub.WebURL = webURL(c.GitHub.APIURL)
	}
	problems = append(problems, c.together()...)
	if len(problems) > 0 {
		if c.Unconnected != "" {
			problems = append(problems, c.Unconnected)
		}
		return Config{}, &Problems{problems}
	}
	return c, nil
}

// webURL is where the pages of the GitHub with that API are. A GitHub
// Enterprise Server has its API below its pages.
func webURL(apiURL string) string {
	if apiURL == "https://api.github.com/" {
		return "https://github.com"
	}
	return strings.TrimSuffix(strings.TrimSuffix(apiURL, "/"), "/api/v3")
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
	whole := func(cure string, set ...bool) bool {
		n := 0
		for _, is := range set {
			if is {
				n++
			}
		}
		if n != 0 && n != len(set) {
			problems = append(problems, cure)
		}
		return n > 0
	}
	app := whole("the GitHub App needs GITHUB_APP_INTEGRATION_ID, GITHUB_APP_WEBHOOK_SECRET and GITHUB_APP_PRIVATE_KEY together; find them on the App's settings page",
		c.GitHub.AppID != 0, !c.GitHub.WebhookSecret.IsZero(), !c.GitHub.PrivateKey.IsZero())
	appLogin := c.oauth(whole, "GITHUB_APP", c.GitHub.AppClient)
	github := c.oauth(whole, "GITHUB_OAUTH", c.GitHub.OAuth)
	gitlab := c.oauth(whole, "GITLAB_OAUTH", c.GitLab.OAuth)
	whole("OIDC needs OIDC_ISSUER and OIDC_AUDIENCE together", c.OIDC.Issuer != "", c.OIDC.Audience != "")
	if len(c.Fixer.Command) > 0 && c.Fixer.URL != "" {
		problems = append(problems, "FIXER_COMMAND and FIXER_URL are both set: there is one fixer, so leave one of them out")
	}
	if !c.Fixer.Token.IsZero() && c.Fixer.URL == "" {
		problems = append(problems, "FIXER_TOKEN is set without FIXER_URL, to which it would be sent")
	}
	if c.GitHub.Token.IsZero() && c.GitLab.Token.IsZero() && !app && !appLogin && !github && !gitlab {
		c.Unconnected = "no forge has credentials: set GITHUB_OAUTH_CLIENT_ID and GITHUB_OAUTH_CLIENT_SECRET (or the same of GITLAB) to let users log in, GITHUB_TOKEN (scopes repo and admin:repo_hook) or GITLAB_TOKEN (scope api) to use your own access, or register a GitHub App with `devflowfix app create`; `devflowfix up` brings a simulator instead"
	}
	return problems
}

func (c *Config) oauth(whole func(string, ...bool) bool, prefix string, o OAuth) bool {
	return whole(fmt.Sprintf("%[1]s_CLIENT_ID and %[1]s_CLIENT_SECRET go together; you find both where the application is registered at the forge", prefix),
		o.ClientID != "", !o.ClientSecret.IsZero())
}
