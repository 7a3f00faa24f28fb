package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

func runRedis(t testing.TB, dir string) *Redis {
	t.Helper()
	r, err := StartRedis(t.Context(), dir, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func client(t testing.TB, r *Redis) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(r.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(options)
	t.Cleanup(func() { c.Close() })
	return c
}

func set(t testing.TB, r *Redis, key, value string) {
	t.Helper()
	if err := client(t, r).Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func wantValue(t testing.TB, r *Redis, key, want string) {
	t.Helper()
	if got, err := client(t, r).Get(t.Context(), key).Result(); err != nil || got != want {
		t.Errorf("%s is %q, %v; want %q", key, got, err, want)
	}
}

func TestRedisKeepsItsData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "my queue")
	r := runRedis(t, dir)
	if r.InProcess() {
		t.Fatal("tests need a real Redis: apt-get install redis-server")
	}
	set(t, r, "k", "kept")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	wantValue(t, runRedis(t, dir), "k", "kept")
}

func TestRedisComesBackAfterACrash(t *testing.T) {
	r := runRedis(t, t.TempDir())
	set(t, r, "k", "confirmed")
	done, url := r.Done(), r.URL()
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	<-done
	if err := r.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.URL() != url {
		t.Errorf("its URL is %s and was %s", r.URL(), url)
	}
	wantValue(t, r, "k", "confirmed")
}

func TestRedisIsAQueueAndPrivate(t *testing.T) {
	r := runRedis(t, t.TempDir())
	c := client(t, r)
	for setting, want := range map[string]string{
		"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": "", "bind": "127.0.0.1",
	} {
		if got, err := c.ConfigGet(t.Context(), setting).Result(); err != nil || got[setting] != want {
			t.Errorf("%s is %q, %v; want %q", setting, got[setting], err, want)
		}
	}
	stranger := redis.NewClient(&redis.Options{Addr: c.Options().Addr})
	defer stranger.Close()
	if err := stranger.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without the password it answers %v", err)
	}
}

func TestRedisFolderInUse(t *testing.T) {
	dir := t.TempDir()
	runRedis(t, dir)
	_, err := StartRedis(t.Context(), dir, zerolog.Nop())
	wantConflict(t, err, dir, fmt.Sprintf("process %d", os.Getpid()), "--data")
}

func TestRedisFolderThatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dump.rdb"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := StartRedis(t.Context(), dir, zerolog.Nop())
	wantConflict(t, err, dir, "--data")
}

func TestRedisThatCannotStartSaysWhy(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\necho out of order >&2\nexit 3\n"
	if err := os.WriteFile(filepath.Join(bin, "redis-server"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	dir := t.TempDir()
	_, err := StartRedis(t.Context(), dir, zerolog.Nop())
	if err == nil || !strings.Contains(err.Error(), "out of order") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error is %v, want the server's own words", err)
	}
}

func TestRedisInThisProcess(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var log strings.Builder
	r, err := StartRedis(t.Context(), t.TempDir(), zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !r.InProcess() || !strings.Contains(log.String(), "lost") {
		t.Errorf("InProcess = %v, and it says %s", r.InProcess(), &log)
	}
	c := client(t, r)
	if err := c.Set(t.Context(), "k", "v", 20*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key has expired", func() bool {
		return errors.Is(c.Get(t.Context(), "k").Err(), redis.Nil)
	})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
