package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/devflowfix/devflowfix/internal/fault"
)

const lockFile = "lock"

// folder is a directory that belongs to one server of ours, locked.
type folder struct {
	path string
	lock *os.File
}

// claim makes dir the folder of the named service, creating it when it is
// missing, and locks it until release. A folder that holds anything else, or
// that another process has locked, is a fault.Conflict.
func claim(dir, service string) (*folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := makeFolder(dir); err != nil {
		return nil, fault.Wrap(fault.Conflict, err, fmt.Sprintf("%s cannot be made; choose another folder with --data", dir))
	}
	if err := mark(dir, service, dir); err != nil {
		return nil, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	return &folder{path: dir, lock: lock}, nil
}

func (f *folder) release() error { return f.lock.Close() }

// folderMode lets other users pass through a folder of root's, without seeing
// what is in it: the user that PostgreSQL runs as needs it.
func folderMode() fs.FileMode {
	if os.Geteuid() == 0 {
		return 0o711
	}
	return 0o700
}

// makeFolder makes dir and the parents that it lacks, all with folderMode,
// whatever the umask. What exists stays as it is.
func makeFolder(dir string) error {
	err := os.Mkdir(dir, folderMode())
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeFolder(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, folderMode())
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // if it is no folder, to read it fails
	}
	if err != nil {
		return err
	}
	return os.Chmod(dir, folderMode())
}

func marker(service string) string { return ".devflowfix-" + service }

// mark writes the marker that makes dir ours, unless it is there. A folder
// that holds files but no marker is not ours to use.
func mark(dir, service, purpose string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return notOurs(dir, err)
	}
	foreign := false
	for _, e := range entries {
		if e.Name() == marker(service) {
			return nil
		}
		foreign = foreign || e.Name() != "lost+found"
	}
	if foreign {
		return fault.New(fault.Conflict, fmt.Sprintf("%s holds files that DevFlowFix did not put there; choose another folder with --data", dir))
	}
	text := fmt.Sprintf("This folder holds the private %s of DevFlowFix for %s.\n", service, purpose)
	if err := os.WriteFile(filepath.Join(dir, marker(service)), []byte(text), 0o600); err != nil {
		return notOurs(dir, err)
	}
	return nil
}

func notOurs(dir string, err error) error {
	return fault.Wrap(fault.Conflict, err, fmt.Sprintf("%s cannot be used; start DevFlowFix as the user it belongs to, or choose another folder with --data", dir))
}

// lockFolder takes the lock that one process at a time has. The kernel gives
// it back when that process ends, in whatever way.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, notOurs(dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, inUse(dir, path)
	}
	if err := errors.Join(f.Truncate(0), writePid(f)); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

func writePid(f *os.File) error {
	_, err := fmt.Fprintln(f, os.Getpid())
	return err
}

func inUse(dir, lock string) error {
	holder := "another process"
	if b, err := os.ReadFile(lock); err == nil && len(b) > 0 {
		holder = "process " + strings.TrimSpace(string(b))
	}
	return fault.New(fault.Conflict, fmt.Sprintf("%s is in use by %s; stop that, or choose another folder with --data", dir, holder))
}
