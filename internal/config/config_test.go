package config_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/knadh/koanf/parsers/yaml"

	"github.com/devflowfix/devflowfix/internal/config"
	"github.com/devflowfix/devflowfix/internal/secret"
)

const example = "../../config.example.yml"

// valid is an environment with which everything starts.
func valid() []string {
	return []string{
		"DATABASE_URL=postgres://u:hunter2@db/x", "REDIS_URL=redis://:hunter2@cache:6379/0",
		"WEBHOOK_BASE_URL=https://dff.example", "OAUTH_TOKEN_ENCRYPTION_KEY=" + secret.NewKey(), "GITHUB_TOKEN=hunter2",
	}
}

func load(t *testing.T, environ ...string) (config.Config, string) {
	t.Helper()
	c, err := config.Load("", environ)
	if err == nil {
		return c, ""
	}
	if problems, ok := errors.AsType[*config.Problems](err); !ok || len(problems.List) == 0 {
		t.Fatalf("err = %T", err)
	}
	return c, err.Error()
}

func TestTheExampleExplainsEverySettingAndNothingElse(t *testing.T) {
	raw, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	values, err := yaml.Parser().Unmarshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range config.Names() {
		if _, ok := values[strings.ToLower(name)]; !ok {
			t.Errorf("config.example.yml lacks %s", strings.ToLower(name))
		}
	}
	for name := range values {
		if !slices.Contains(config.Names(), strings.ToUpper(name)) {
			t.Errorf("config.example.yml has %s, which is no setting", name)
		}
	}
	_, err = config.Load(example, nil)
	if err != nil && !strings.Contains(err.Error(), "GITHUB_APP_PRIVATE_KEY") {
		t.Errorf("the example does not load: %v", err)
	}
}

func TestEveryMissingSettingIsNamedAtOnceWithItsCure(t *testing.T) {
	_, text := load(t)
	for _, want := range []string{
		"DATABASE_URL is missing", "REDIS_URL is missing", "WEBHOOK_BASE_URL is missing",
		"OAUTH_TOKEN_ENCRYPTION_KEY is missing", "openssl rand", "no forge has credentials", "GITHUB_TOKEN",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the message lacks %q:\n%s", want, text)
		}
	}
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dff.yml")
	if err := os.WriteFile(file, []byte("log_level: debug\nport: 9000\nworker_concurrency: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, append(valid(), "LOG_LEVEL=warn"))
	if err != nil {
		t.Fatal(err)
	}
	if c.LogLevel != "warn" || c.Addr != ":9000" || c.Concurrency != 3 {
		t.Errorf("config = %q %q %d", c.LogLevel, c.Addr, c.Concurrency)
	}
}

func TestMalformedSettingsAreToldWithoutTheirValues(t *testing.T) {
	tests := []struct{ name, set, want string }{
		{"a URL of another kind", "DATABASE_URL=mysql://u:hunter2@db/x", "DATABASE_URL is malformed"},
		{"no URL", "REDIS_URL=hunter2", "REDIS_URL is malformed"},
		{"http for the world", "WEBHOOK_BASE_URL=http://dff.example", "https://"},
		{"a base URL with a query", "WEBHOOK_BASE_URL=https://dff.example?x=hunter2", "without query"},
		{"a short key", "OAUTH_TOKEN_ENCRYPTION_KEY=hunter2", "OAUTH_TOKEN_ENCRYPTION_KEY is malformed: key 1"},
		{"a port beyond the last", "PORT=70000", "PORT is malformed"},
		{"a level nobody knows", "LOG_LEVEL=loud", "LOG_LEVEL is malformed"},
		{"a short password", "OPS_PASSWORD=hunter2", "OPS_PASSWORD is malformed"},
		{"half an App", "GITHUB_APP_WEBHOOK_SECRET=hunter2", "GITHUB_APP_INTEGRATION_ID"},
		{"an App id that is none", "GITHUB_APP_INTEGRATION_ID=hunter2", "GITHUB_APP_INTEGRATION_ID is malformed"},
		{"a key that is no PEM", "GITHUB_APP_PRIVATE_KEY=hunter2", "GITHUB_APP_PRIVATE_KEY is malformed"},
		{"too little retention", "DELIVERY_RETENTION_DAYS=3", "DELIVERY_RETENTION_DAYS is malformed"},
		{"no URL of a collector", "OTEL_EXPORTER_OTLP_ENDPOINT=hunter2:4317", "OTEL_EXPORTER_OTLP_ENDPOINT is malformed"},
		{"headers without values", "OTEL_EXPORTER_OTLP_HEADERS=hunter2", "OTEL_EXPORTER_OTLP_HEADERS is malformed"},
		{"a header that would be two", "OTEL_EXPORTER_OTLP_HEADERS=key=a%0D%0Ahunter2", "OTEL_EXPORTER_OTLP_HEADERS is malformed"},
		{"more than every trace", "OTEL_TRACES_SAMPLER_ARG=1.5", "OTEL_TRACES_SAMPLER_ARG is malformed"},
		{"a ratio that is no number", "OTEL_TRACES_SAMPLER_ARG=NaN", "OTEL_TRACES_SAMPLER_ARG is malformed"},
		{"an address without a port", "WORKER_ADDR=hunter2", "WORKER_ADDR is malformed"},
		{"a fixer without its path", "FIXER_COMMAND=hunter2", "FIXER_COMMAND is malformed: it begins with the whole path"},
		{"a fixer that is not there", "FIXER_COMMAND=/hunter2", "FIXER_COMMAND is malformed: its program is not there"},
		{"a fixer that takes too long", "FIXER_TIMEOUT_SECONDS=601", "FIXER_TIMEOUT_SECONDS is malformed"},
		{"a token for no fixer", "FIXER_TOKEN=hunter2", "FIXER_TOKEN is set without FIXER_URL"},
		{"a pasted newline", "GITHUB_TOKEN=hunter2\n", "GITHUB_TOKEN is malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, text := load(t, append(valid(), tt.set)...)
			if !strings.Contains(text, tt.want) {
				t.Errorf("the message lacks %q:\n%s", tt.want, text)
			}
			if strings.Contains(text, "hunter2") {
				t.Errorf("the message shows a secret:\n%s", text)
			}
		})
	}
}

func TestAFileWithAnUnknownNameIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dff.yml")
	if err := os.WriteFile(file, []byte("databse_url: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(file, valid()); err == nil || !strings.Contains(err.Error(), `"databse_url"`) {
		t.Errorf("err = %v", err)
	}
	if _, err := config.Load(file+".gone", valid()); err == nil {
		t.Error("a named file that is not there was ignored")
	}
}

func TestSettingsDoNotPrintTheirSecrets(t *testing.T) {
	c, text := load(t, valid()...)
	if text != "" {
		t.Fatal(text)
	}
	if printed := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(printed, "hunter2") {
		t.Errorf("printed: %s", printed)
	}
}

func TestTracesGoWhereTheSettingsSay(t *testing.T) {
	off, _ := load(t, valid()...)
	if off.Tracing.Endpoint != "" || len(off.Tracing.HeaderValues()) != 0 || off.Tracing.Service != "devflowfix" || off.Tracing.Ratio != 1 {
		t.Errorf("by default = %+v", off.Tracing)
	}
	on, text := load(t, append(valid(), "OTEL_EXPORTER_OTLP_ENDPOINT=https://otel.example/x", "OTEL_EXPORTER_OTLP_HEADERS=api-key=hunter2%3D, tenant=a",
		"OTEL_TRACES_SAMPLER_ARG=0.25", "OTEL_SERVICE_NAME=ci")...)
	want := map[string]string{"api-key": "hunter2=", "tenant": "a"}
	if text != "" || !maps.Equal(on.Tracing.HeaderValues(), want) || on.Tracing.Ratio != 0.25 || on.Tracing.Service != "ci" || on.Tracing.Endpoint != "https://otel.example/x" {
		t.Errorf("as set = %+v %s", on.Tracing, text)
	}
	if strings.Contains(fmt.Sprintf("%+v", on.Tracing), "hunter2") {
		t.Error("a header's value is printed")
	}
}

func TestThereIsOneFixer(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, text := load(t, append(valid(), "FIXER_COMMAND="+program+" -fast now")...)
	if text != "" || !slices.Equal(c.Fixer.Command, []string{program, "-fast", "now"}) || c.Fixer.Timeout != 5*time.Minute || c.Fixer.PerDay != 5 {
		t.Errorf("fixer = %+v %s", c.Fixer, text)
	}
	_, text = load(t, append(valid(), "FIXER_COMMAND="+program, "FIXER_URL=https://fixer.example")...)
	if !strings.Contains(text, "FIXER_COMMAND and FIXER_URL are both set") {
		t.Errorf("two fixers: %s", text)
	}
}
