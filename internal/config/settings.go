package config

import (
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// settings are all there are, in the order of config.example.yml.
var settings = []setting{
	{name: "DATABASE_URL", missing: "set it to the URL of a PostgreSQL database, postgres://user:password@host:5432/devflowfix; platforms set it when a database is attached",
		read: urlWith(func(c *Config, v string) { c.DatabaseURL = secret.NewText(v) }, "postgres", "postgresql")},
	{name: "REDIS_URL", missing: "set it to the URL of a Redis server, redis://:password@host:6379/0, or rediss:// for TLS; platforms set it when a Redis is attached. Sentinel and Cluster have redis-sentinel://:password@host1:26379,host2:26379/mymaster and redis-cluster://:password@host1:6379,host2:6379",
		read: readRedisURL},
	{name: "WEBHOOK_BASE_URL", missing: "set it to the https address under which GitHub and GitLab reach this installation, https://devflowfix.example.com", read: readBaseURL},
	{name: "OAUTH_TOKEN_ENCRYPTION_KEY", missing: "make one with `openssl rand -base64 32` and keep it safe; several keys are separated by commas, the first encrypts", read: readKeyring},
	{name: "GITHUB_TOKEN", read: text(func(c *Config, v string) { c.GitHub.Token = secret.NewText(v) })},
	{name: "GITHUB_API_URL", preset: "https://api.github.com/", read: urlWith(func(c *Config, v string) { c.GitHub.APIURL = strings.TrimSuffix(v, "/") + "/" }, "https", "http")},
	{name: "GITHUB_WEB_URL", read: urlWith(func(c *Config, v string) { c.GitHub.WebURL = strings.TrimSuffix(v, "/") }, "https", "http")},
	{name: "GITHUB_OAUTH_CLIENT_ID", read: text(func(c *Config, v string) { c.GitHub.OAuth.ClientID = v })},
	{name: "GITHUB_OAUTH_CLIENT_SECRET", read: text(func(c *Config, v string) { c.GitHub.OAuth.ClientSecret = secret.NewText(v) })},
	{name: "GITHUB_APP_INTEGRATION_ID", read: whole(1, 1<<62, func(c *Config, n int64) { c.GitHub.AppID = n })},
	{name: "GITHUB_APP_WEBHOOK_SECRET", read: text(func(c *Config, v string) { c.GitHub.WebhookSecret = secret.NewText(v) })},
	{name: "GITHUB_APP_PRIVATE_KEY", read: readPrivateKey},
	{name: "GITHUB_APP_CLIENT_ID", read: text(func(c *Config, v string) { c.GitHub.AppClient.ClientID = v })},
	{name: "GITHUB_APP_CLIENT_SECRET", read: text(func(c *Config, v string) { c.GitHub.AppClient.ClientSecret = secret.NewText(v) })},
	{name: "GITLAB_TOKEN", read: text(func(c *Config, v string) { c.GitLab.Token = secret.NewText(v) })},
	{name: "GITLAB_URL", preset: "https://gitlab.com", read: urlWith(func(c *Config, v string) { c.GitLab.URL = strings.TrimSuffix(v, "/") }, "https", "http")},
	{name: "GITLAB_OAUTH_CLIENT_ID", read: text(func(c *Config, v string) { c.GitLab.OAuth.ClientID = v })},
	{name: "GITLAB_OAUTH_CLIENT_SECRET", read: text(func(c *Config, v string) { c.GitLab.OAuth.ClientSecret = secret.NewText(v) })},
	{name: "SLACK_API_URL", preset: "https://slack.com/api", read: urlWith(func(c *Config, v string) { c.SlackURL = strings.TrimSuffix(v, "/") }, "https", "http")},
	{name: "PAGERDUTY_EVENTS_URL", preset: "https://events.pagerduty.com", read: urlWith(func(c *Config, v string) { c.PagerDutyURL = strings.TrimSuffix(v, "/") }, "https", "http")},
	{name: "FIXER_COMMAND", read: readFixerCommand},
	{name: "FIXER_URL", read: urlWith(func(c *Config, v string) { c.Fixer.URL = v }, "https", "http")},
	{name: "FIXER_TOKEN", read: text(func(c *Config, v string) { c.Fixer.Token = secret.NewText(v) })},
	{name: "FIXER_TIMEOUT_SECONDS", preset: "300", read: whole(1, 600, func(c *Config, n int64) { c.Fixer.Timeout = time.Duration(n) * time.Second })},
	{name: "FIXES_PER_DAY", preset: "5", read: whole(0, 1000, func(c *Config, n int64) { c.Fixer.PerDay = int(n) })},
	{name: "OIDC_ISSUER", read: urlWith(func(c *Config, v string) { c.OIDC.Issuer = v }, "https", "http")},
	{name: "OIDC_AUDIENCE", read: text(func(c *Config, v string) { c.OIDC.Audience = v })},
	{name: "ADMINS", read: readAdmins},
	{name: "ALLOW_PRIVATE_NETWORKS", preset: "false", read: oneOf(func(c *Config, v string) { c.AllowPrivate = v == "true" }, "true", "false")},
	{name: "TRUSTED_PROXY_HOPS", preset: "0", read: whole(0, 10, func(c *Config, n int64) { c.ProxyHops = int(n) })},
	{name: "OPS_PASSWORD", read: readOpsPassword},
	{name: "PORT", preset: "8080", read: whole(1, 65535, func(c *Config, n int64) { c.Addr = ":" + strconv.FormatInt(n, 10) })},
	{name: "ADDR", read: addr(func(c *Config, v string) { c.Addr = v })},
	{name: "LOG_LEVEL", preset: "info", read: oneOf(func(c *Config, v string) { c.LogLevel = v }, "debug", "info", "warn", "error")},
	{name: "LOG_FORMAT", preset: "json", read: oneOf(func(c *Config, v string) { c.LogFormat = v }, "json", "console")},
	{name: "OTEL_EXPORTER_OTLP_ENDPOINT", read: urlWith(func(c *Config, v string) { c.Tracing.Endpoint = v }, "https", "http")},
	{name: "OTEL_EXPORTER_OTLP_HEADERS", read: readHeaders},
	{name: "OTEL_SERVICE_NAME", preset: "devflowfix", read: text(func(c *Config, v string) { c.Tracing.Service = v })},
	{name: "OTEL_TRACES_SAMPLER_ARG", preset: "1", read: readRatio},
	{name: "WORKER_ADDR", read: addr(func(c *Config, v string) { c.WorkerAddr = v })},
	{name: "DATABASE_MAX_CONNECTIONS", preset: "20", read: whole(4, 1000, func(c *Config, n int64) { c.DatabaseConnections = int(n) })},
	{name: "WORKER_FETCHERS", preset: "2", read: whole(1, 32, func(c *Config, n int64) { c.Fetchers = int(n) })},
	{name: "WORKER_CONCURRENCY", preset: "10", read: whole(1, 1000, func(c *Config, n int64) { c.Concurrency = int(n) })},
	{name: "WEBHOOK_SECRET_MAX_AGE_DAYS", preset: "90", read: whole(1, 3650, func(c *Config, n int64) { c.SecretMaxAge = time.Duration(n) * 24 * time.Hour })},
	{name: "DELIVERY_RETENTION_DAYS", preset: "14", read: whole(8, 3650, func(c *Config, n int64) { c.RetentionDays = int(n) })},
}

// Names are all settings.
func Names() []string {
	names := make([]string, len(settings))
	for i, s := range settings {
		names[i] = s.name
	}
	return names
}

func text(put func(*Config, string)) func(*Config, string) string {
	return func(c *Config, v string) string {
		if strings.TrimSpace(v) != v {
			return "it begins or ends with white space"
		}
		put(c, v)
		return ""
	}
}

func oneOf(put func(*Config, string), allowed ...string) func(*Config, string) string {
	return func(c *Config, v string) string {
		if !slices.Contains(allowed, v) {
			return "it is one of " + strings.Join(allowed, ", ")
		}
		put(c, v)
		return ""
	}
}

func whole(least, most int64, put func(*Config, int64)) func(*Config, string) string {
	return func(c *Config, v string) string {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < least || n > most {
			return fmt.Sprintf("it is a whole number from %d to %d", least, most)
		}
		put(c, n)
		return ""
	}
}

// urlWith reads an absolute URL. Sentences never show it: it may hold a
// password.
func urlWith(put func(*Config, string), schemes ...string) func(*Config, string) string {
	return func(c *Config, v string) string {
		u, err := url.Parse(v)
		if err != nil || !slices.Contains(schemes, u.Scheme) || u.Host == "" && u.Query().Get("host") == "" && u.Path == "" {
			return "it is a URL that begins with " + strings.Join(schemes, ":// or ") + "://"
		}
		put(c, v)
		return ""
	}
}

func readRedisURL(c *Config, v string) string {
	if err := queue.CheckURL(v); err != nil {
		return err.Error()
	}
	c.RedisURL = secret.NewText(v)
	return ""
}

func readBaseURL(c *Config, v string) string {
	u, err := url.Parse(v)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return "it is an absolute URL without query, https://devflowfix.example.com"
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "it begins with https://; http is for this machine alone (localhost)"
	}
	c.BaseURL = strings.TrimSuffix(v, "/")
	return ""
}

func readKeyring(c *Config, v string) string {
	ring, err := secret.ParseKeyring(v)
	if err != nil {
		return err.Error() + "; `openssl rand -base64 32` makes one"
	}
	c.Keyring = ring
	return ""
}

// readPrivateKey takes PEM as it is, or in one line with \n for the line ends,
// as some platforms store it.
func readPrivateKey(c *Config, v string) string {
	v = strings.ReplaceAll(v, `\n`, "\n")
	if block, _ := pem.Decode([]byte(v)); block == nil {
		return "it is the text of the App's .pem file"
	}
	c.GitHub.PrivateKey = secret.NewText(v)
	return ""
}

func readAdmins(c *Config, v string) string {
	for _, name := range strings.Split(strings.ToLower(v), ",") {
		provider, login, _ := strings.Cut(strings.TrimSpace(name), ":")
		if !slices.Contains([]string{"github", "gitlab", "oidc"}, provider) || login == "" {
			return "it is a list of github:LOGIN, gitlab:LOGIN and oidc:NAME, separated by commas"
		}
		c.Admins = append(c.Admins, provider+":"+login)
	}
	return ""
}

// readFixerCommand takes a program with its arguments, separated by white
// space. No shell reads it.
func readFixerCommand(c *Config, v string) string {
	args := strings.Fields(v)
	if len(args) == 0 || !filepath.IsAbs(args[0]) {
		return "it begins with the whole path of a program, /usr/local/bin/fixer, and may have arguments after it"
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		return "its program is not there, or may not be executed"
	}
	c.Fixer.Command = args
	return ""
}

func readOpsPassword(c *Config, v string) string {
	if len(v) < 12 {
		return "it has at least 12 characters"
	}
	c.OpsPassword = secret.NewText(v)
	return ""
}

// readHeaders takes headers as OTEL_EXPORTER_OTLP_HEADERS has them.
func readHeaders(c *Config, v string) string {
	if _, ok := parseHeaders(v); !ok {
		return "it is a list of name=value, separated by commas, each value encoded as in a URL"
	}
	c.Tracing.Headers = secret.NewText(v)
	return ""
}

// parseHeaders reads name=value pairs, separated by commas.
func parseHeaders(v string) (map[string]string, bool) {
	values := map[string]string{}
	if v == "" {
		return values, true
	}
	for pair := range strings.SplitSeq(v, ",") {
		name, encoded, found := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(encoded))
		if name = strings.TrimSpace(name); !found || name == "" || err != nil || strings.ContainsAny(name+value, "\r\n") {
			return nil, false
		}
		values[name] = value
	}
	return values, true
}

func readRatio(c *Config, v string) string {
	ratio, err := strconv.ParseFloat(v, 64)
	if err != nil || !(ratio >= 0 && ratio <= 1) {
		return "it is a number from 0 to 1"
	}
	c.Tracing.Ratio = ratio
	return ""
}

func addr(put func(*Config, string)) func(*Config, string) string {
	return func(c *Config, v string) string {
		if _, _, err := net.SplitHostPort(v); err != nil {
			return "it is host:port, 127.0.0.1:8080"
		}
		put(c, v)
		return ""
	}
}
