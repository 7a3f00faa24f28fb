package localtest

import (
	"os"
	"syscall"
	"testing"
)

// Folder returns an empty folder for a cluster of PostgreSQL, which goes with
// the test. Unlike those of tb.TempDir the user that PostgreSQL runs as can
// reach it.
func Folder(tb testing.TB) string {
	tb.Helper()
	dir, err := newFolder("devflowfix-test-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// newFolder is in memory where the machine has room for that: a database has
// 300 files, and to make and remove them costs more than all that most tests
// ask of it when they are on a disk.
func newFolder(prefix string) (string, error) {
	const memory, room = "/dev/shm", 2 << 30
	parent := ""
	var fs syscall.Statfs_t
	if err := syscall.Statfs(memory, &fs); err == nil && fs.Bavail >= room/uint64(fs.Bsize) {
		parent = memory
	}
	dir, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}
