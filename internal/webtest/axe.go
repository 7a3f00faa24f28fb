package webtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// axe-core (MPL-2.0) looks for what shuts people out. It is for tests alone, so
// npm fetches it, once for a machine.
const (
	axePackage = "axe-core"
	axeVersion = "4.14.1"
	axeDigest  = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==" // SHA-512 of the archive
	axeWithin  = 2 * time.Minute
)

// Axe returns the script of axe-core.
func Axe() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	kept := filepath.Join(cache, "devflowfix", axePackage+"-"+axeVersion+".tgz")
	archive, err := os.ReadFile(kept)
	if err == nil && digestOf(archive) == axeDigest {
		return scriptOf(archive)
	}
	if archive, err = fetchAxe(); err != nil {
		return "", fmt.Errorf("fetch %s by npm: %w", axePackage, err)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(kept), 0o700), os.WriteFile(kept, archive, 0o600)); err != nil {
		return "", err
	}
	return scriptOf(archive)
}

func fetchAxe() ([]byte, error) {
	dir, err := os.MkdirTemp("", "axe")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), axeWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "pack", axePackage+"@"+axeVersion, "--silent", "--ignore-scripts", "--pack-destination="+dir)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	archive, err := os.ReadFile(filepath.Join(dir, axePackage+"-"+axeVersion+".tgz"))
	if err != nil {
		return nil, err
	}
	if got := digestOf(archive); got != axeDigest {
		return nil, fmt.Errorf("its digest is %s, not %s", got, axeDigest)
	}
	return archive, nil
}

func digestOf(archive []byte) string {
	sum := sha512.Sum512(archive)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func scriptOf(archive []byte) (string, error) {
	plain, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return "", err
	}
	for entries := tar.NewReader(plain); ; {
		h, err := entries.Next()
		if err != nil {
			return "", fmt.Errorf("axe.min.js: %w", err)
		}
		if h.Name == "package/axe.min.js" {
			script, err := io.ReadAll(entries)
			return string(script), err
		}
	}
}

// Violation is a rule that a page breaks.
type Violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// Violations lets axe-core look at the page that the window shows.
func (w *Window) Violations(axe string) []Violation {
	w.tb.Helper()
	if !Ask[bool](w, `typeof axe !== "undefined"`) {
		w.do(chromedp.Evaluate[chromedp.Void](axe + "; undefined"))
	}
	return Ask[[]Violation](w, `axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations)`)
}

// Look sets how the person looks at the pages: at how many pixels of width, and
// in the dark or in the light. Nothing moves.
func (w *Window) Look(width int64, dark bool) {
	w.tb.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	w.do(chromedp.EmulateViewport(width, 900))
	w.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	}))
}

// Screenshot is the whole page as a PNG.
func (w *Window) Screenshot() []byte {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, soon)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		w.tb.Fatal(err)
	}
	return png
}
