package harness

import (
	"bytes"
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
		w.log.check(w.tb, append(w.Sim.IssuedSecrets(), appWebhookSecret, githubToken, gitlabToken, clientSecret, OperatorPassword))
	})
	if quiet {
		return zerolog.New(w.log)
	}
	shown := &zerolog.FilteredLevelWriter{Writer: zerolog.LevelWriterAdapter{Writer: zerolog.NewTestWriter(w.tb)}, Level: zerolog.WarnLevel}
	return zerolog.New(zerolog.MultiLevelWriter(w.log, shown))
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
