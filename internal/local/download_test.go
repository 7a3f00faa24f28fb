package local

import (
	"archive/zip"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// archive answers as the library's repository does: a Java archive with the
// binaries inside, and no checksum. testdata/embedded.txz holds programs that
// only know their version, and that none but their owner can run.
func archive(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, ".jar") {
		http.NotFound(w, r)
		return
	}
	content, err := os.ReadFile("testdata/embedded.txz")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	jar := zip.NewWriter(w)
	if f, err := jar.Create("postgres.txz"); err == nil {
		_, _ = f.Write(content)
	}
	_ = jar.Close()
}

func downloadTo(t testing.TB, dir, repository string) download {
	t.Helper()
	return download{
		who: someAccount(t), log: zerolog.Nop(), repository: repository,
		folder: func() (string, error) { return dir, nil },
	}
}

func TestLibraryFillsTheCacheOnce(t *testing.T) {
	repository := httptest.NewServer(http.HandlerFunc(archive))
	defer repository.Close()
	cache := filepath.Join(reachable(t), "cache", "postgres")
	t.Setenv("TMPDIR", t.TempDir()) // for the file that the library leaves there
	d := downloadTo(t, cache, repository.URL)
	f := finder{who: d.who, sources: []source{{"cache", d.earlier}, {"library", d.byLibrary}}}
	for _, wantOrigin := range []string{"library", "cache"} {
		b, err := f.find(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b.origin != b.dir+" ("+wantOrigin+")" || b.version != "18.4" || !strings.HasPrefix(b.dir, cache) {
			t.Errorf("found %+v, want those of the %s", b, wantOrigin)
		}
		repository.Close()
	}
	left, err := filepath.Glob(filepath.Join(cache, stagingName+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v were left", left, err)
	}
}

// A cache below a folder of root's is of no use to the server's user.
func TestCacheThatItsUserCannotReach(t *testing.T) {
	t.Parallel()
	closed := filepath.Join(reachable(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	d := downloadTo(t, filepath.Join(closed, "postgres"), "")
	for range 2 {
		cache, err := d.cache(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(cache); err != nil {
				t.Error(err)
			}
		})
		if err := d.who.reaches(t.Context(), cache); err != nil {
			t.Errorf("cache %s: %v", cache, err)
		}
	}
}

func TestLibraryIsGivenUpWithItsContext(t *testing.T) {
	cache := reachable(t)
	t.Setenv("TMPDIR", t.TempDir())
	asked, end := make(chan struct{}), make(chan struct{})
	repository := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-end
	}))
	defer repository.Close()
	defer close(end)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := downloadTo(t, cache, repository.URL).byLibrary(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
