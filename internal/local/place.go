package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"
)

const pointerFile = "moved-to"

// place returns the folder in which the files of dir live: dir itself, or,
// where the account cannot reach dir (say it is below /root), a folder that it
// can reach. A pointer file in dir remembers the second, so that a later start
// finds the same data whatever has changed in between.
func place(ctx context.Context, dir, service string, who account, log zerolog.Logger) (string, error) {
	pointer := filepath.Join(dir, pointerFile)
	known, err := os.ReadFile(pointer)
	if err == nil {
		path := strings.TrimSpace(string(known))
		if _, err := os.Stat(filepath.Join(path, marker(service))); err == nil {
			return path, ownFolder(path, service, dir)
		}
		log.Warn().Str("folder", dir).Str("moved_to", path).Msg("what stood in for the folder is gone: beginning anew")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if who.reaches(ctx, dir) == nil {
		return dir, removeIfThere(pointer)
	}
	path, err := substitute(ctx, dir, service, who)
	if err != nil {
		return "", err
	}
	return path, os.WriteFile(pointer, []byte(path+"\n"), 0o600)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// substitute makes a folder that the account can reach, in place of dir.
func substitute(ctx context.Context, dir, service string, who account) (string, error) {
	if err := who.reaches(ctx, "/"); err != nil {
		return "", fmt.Errorf("run a process as user %s: %w", who.name, err)
	}
	name := fmt.Sprintf("devflowfix-%x", sha256.Sum256([]byte(dir)))[:len("devflowfix-")+12]
	var refused []error
	for _, parent := range []string{"/var/lib", os.TempDir(), "/tmp"} {
		path := filepath.Join(parent, name)
		err := ownFolder(path, service, dir)
		if err == nil {
			err = who.reaches(ctx, path)
		}
		if err == nil {
			return path, nil
		}
		refused = append(refused, err)
	}
	return "", fmt.Errorf("user %s, which PostgreSQL has to run as, can reach neither %s nor any place instead; choose another folder with --data: %w", who.name, dir, errors.Join(refused...))
}

// ownFolder makes path a folder of ours. Its parent may be open to everybody
// (/tmp), and its name can be foreseen: what another user put there is refused.
func ownFolder(path, service, purpose string) error {
	if err := os.Mkdir(path, folderMode()); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	owner, err := ownerOf(path)
	if err != nil {
		return err
	}
	if !info.IsDir() || int(owner) != os.Geteuid() {
		return fmt.Errorf("%s belongs to somebody else", path)
	}
	if err := mark(path, service, purpose); err != nil {
		return err
	}
	return os.Chmod(path, folderMode())
}
