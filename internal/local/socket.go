package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// socketName is what PostgreSQL calls the socket of its default port.
	socketName = ".s.PGSQL.5432"
	// socketLimit is the longest path of a socket that every system takes:
	// 107 bytes on Linux, 103 on the BSDs and macOS (sun_path less its NUL).
	socketLimit = 103
	socketFile  = "socket-folder"
)

// socketFolder makes the folder of the server's socket. It is a part of home
// unless its path does not suit; then it is a short one among the temporary
// files, which a file in home remembers so that it can be removed.
func socketFolder(ctx context.Context, home string, who account) (string, error) {
	if err := removeSocketFolder(home); err != nil {
		return "", err
	}
	dir := filepath.Join(home, "run")
	if suits(dir) {
		return dir, who.privateFolder(dir)
	}
	var refused []error
	for _, parent := range []string{os.TempDir(), "/tmp"} {
		dir, err := shortFolder(ctx, parent, who)
		if err == nil {
			return dir, os.WriteFile(filepath.Join(home, socketFile), []byte(dir+"\n"), 0o600)
		}
		refused = append(refused, err)
	}
	return "", fmt.Errorf("folder for the socket: %w", errors.Join(refused...))
}

// suits reports whether a client can be told of a socket in dir: a comma would
// separate hosts.
func suits(dir string) bool {
	return len(filepath.Join(dir, socketName)) <= socketLimit && !strings.Contains(dir, ",")
}

func shortFolder(ctx context.Context, parent string, who account) (string, error) {
	dir, err := os.MkdirTemp(parent, "devflowfix-")
	if err != nil {
		return "", err
	}
	err = who.privateFolder(dir)
	if err == nil {
		err = who.reaches(ctx, dir)
	}
	if err == nil && !suits(dir) {
		err = fmt.Errorf("%s is too long, or has a comma", dir)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	return dir, nil
}

// removeSocketFolder removes the temporary folder that home remembers, if any.
func removeSocketFolder(home string) error {
	note := filepath.Join(home, socketFile)
	b, err := os.ReadFile(note)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	dir := strings.TrimSpace(string(b))
	for _, name := range []string{socketName, socketName + ".lock", ""} {
		if err := removeIfThere(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return os.Remove(note)
}

// answers reports whether anything listens on the socket in dir.
func answers(ctx context.Context, dir string) bool {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", filepath.Join(dir, socketName))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
