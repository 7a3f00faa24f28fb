package harness

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"
)

// Secret makes the world look for a secret in everything that is logged.
func (w *World) Secret(s string) {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	w.log.secrets = append(w.log.secrets, s)
}

// watchedLog keeps what is logged at any level, and shows the test what goes
// wrong. When the test ends, the log must hold no secret that was issued.
func (w *World) watchedLog(quiet bool) zerolog.Logger {
	w.log = &watchedLog{}
	w.tb.Cleanup(func() {
		w.log.check(w.tb, w.issued())
	})
	if quiet {
		return zerolog.New(w.log)
	}
	shown := &zerolog.FilteredLevelWriter{Writer: zerolog.LevelWriterAdapter{Writer: zerolog.NewTestWriter(w.tb)}, Level: zerolog.WarnLevel}
	return zerolog.New(zerolog.MultiLevelWriter(w.log, shown))
}

// issued are the secrets that there are in every world, and those that its forges
// have issued.
func (w *World) issued() []string {
	return append(w.Sim.IssuedSecrets(), appWebhookSecret, githubToken, gitlabToken, clientSecret, OperatorPassword)
}

// Logged are the lines of the log that have a field with a value.
func (w *World) Logged(field, value string) []map[string]any {
	w.log.mu.Lock()
	text := w.log.text.String()
	w.log.mu.Unlock()
	var lines []map[string]any
	for line := range strings.Lines(text) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err == nil && fields[field] == value {
			lines = append(lines, fields)
		}
	}
	return lines
}

type watchedLog struct {
	mu      sync.Mutex
	text    bytes.Buffer
	secrets []string
}

func (l *watchedLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// shortest is how long a secret has to be to be told from other words.
const shortest = 12

func (l *watchedLog) check(tb testing.TB, issued []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	for _, secret := range append(issued, l.secrets...) {
		if len(secret) < shortest {
			continue
		}
		if at := strings.Index(text, secret); at >= 0 {
			tb.Errorf("the log holds the secret %.6s…:\n%s", secret, text[max(0, at-300):min(len(text), at+100)])
		}
	}
}
