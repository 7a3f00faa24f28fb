package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	embedded "github.com/fergusstrange/embedded-postgres"
	"github.com/rs/zerolog"
)

// downloadMajor is the major version of what can be fetched.
const downloadMajor = 18

// libraryWithin bounds the download by the library, which has no bound itself.
const libraryWithin = time.Minute

// download brings binaries from the network into a cache, where later starts
// find them.
type download struct {
	who    account
	log    zerolog.Logger
	folder func() (string, error)
	// repository overrides where the library downloads from.
	repository string
}

// userCache is the cache of this user's downloads.
func userCache() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "devflowfix", "postgres"), err
}

// cache makes the cache, where the server's user can reach it.
func (d download) cache(ctx context.Context) (string, error) {
	dir, err := d.folder()
	if err != nil {
		return "", err
	}
	if err := makeFolder(dir); err != nil {
		return "", err
	}
	if err := mark(dir, "binaries", "every data folder"); err != nil {
		return "", err
	}
	return place(ctx, dir, "binaries", d.who, d.log)
}

// earlier returns what is in the cache.
func (d download) earlier(ctx context.Context) ([]string, error) {
	dir, err := d.folder()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	cache, err := d.cache(ctx)
	if err != nil {
		return nil, err
	}
	dirs, err := filepath.Glob(filepath.Join(cache, "postgresql-*", "bin"))
	newestFirst(dirs)
	return dirs, err
}

// keep moves the binaries that were fetched to dir into the cache.
func keep(dir, cache, name string) ([]string, error) {
	path := filepath.Join(cache, name)
	if err := os.Rename(dir, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return []string{filepath.Join(path, "bin")}, nil
}

// byLibrary has the library embedded-postgres fetch and unpack binaries.
func (d download) byLibrary(ctx context.Context) ([]string, error) {
	cache, err := d.cache(ctx)
	if err != nil {
		return nil, err
	}
	// When the library is given up its folder stays, for a later staging to
	// remove: it goes on writing there, and panics when it cannot.
	staging, err := d.staging(cache)
	if err != nil {
		return nil, err
	}
	d.log.Info().Str("source", "embedded-postgres").Dur("within", libraryWithin).Msg("fetching PostgreSQL")
	tree := filepath.Join(staging, "tree")
	config, err := d.libraryConfig(staging, tree)
	if err != nil {
		return nil, err
	}
	refusal := make(chan error, 1)
	go func() { refusal <- embedded.NewDatabase(config).Start() }()
	select {
	case err = <-refusal:
	case <-time.After(libraryWithin):
		return nil, fmt.Errorf("nothing within %s", libraryWithin)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer os.RemoveAll(staging)
	if _, statErr := os.Stat(filepath.Join(tree, "bin", "postgres")); statErr != nil {
		return nil, cmp.Or(err, statErr)
	}
	if err := readable(tree); err != nil {
		return nil, err
	}
	return keep(tree, cache, "postgresql-"+string(embedded.V18)+"-embedded")
}

// libraryConfig makes the library stop when the binaries are in tree: its data
// folder would be below a plain file. To start a server is not left to it,
// since that would listen on a TCP port, and would not run at all for root.
func (d download) libraryConfig(staging, tree string) (embedded.Config, error) {
	file := filepath.Join(staging, "no-folder")
	c := embedded.DefaultConfig().Port(0).Logger(io.Discard).
		CachePath(filepath.Join(staging, "archives")).BinariesPath(tree).
		RuntimePath(filepath.Join(staging, "runtime")).DataPath(filepath.Join(file, "data"))
	if d.repository != "" {
		c = c.BinaryRepositoryURL(d.repository)
	}
	return c, os.WriteFile(file, nil, 0o600)
}

const stagingName = "fetching-"

// staging makes a folder in the cache to fetch into, and removes those that
// were left there by fetches that were given up long ago.
func (d download) staging(cache string) (string, error) {
	old, err := filepath.Glob(filepath.Join(cache, stagingName+"*"))
	if err != nil {
		return "", err
	}
	for _, dir := range old {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > time.Hour {
			if err := os.RemoveAll(dir); err != nil {
				return "", err
			}
		}
	}
	return os.MkdirTemp(cache, stagingName)
}

// readable lets every user read, and run, what is in a tree, whatever umask it
// was unpacked under.
func readable(tree string) error {
	return filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | 0o644
		if e.IsDir() || mode&0o100 != 0 {
			mode |= 0o755
		}
		return os.Chmod(path, mode)
	})
}
