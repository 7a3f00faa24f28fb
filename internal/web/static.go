package web

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed page static
var files embed.FS

// StaticPath is where the pages expect their files.
const StaticPath = "/static/"

// hashes has the hash of each static file, by its name. A file is served below
// its hash, so that browsers may keep it for ever and never use an old one.
var hashes = hashStatic()

func hashStatic() map[string]string {
	entries, err := fs.ReadDir(files, "static")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	hashed := map[string]string{}
	for _, e := range entries {
		content, err := files.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		hashed[e.Name()] = base64.RawURLEncoding.EncodeToString(sum[:9])
	}
	return hashed
}

// staticURL is the address of a static file of that content.
func staticURL(name string) string { return StaticPath + hashes[name] + "/" + name }

// Static serves the files: for ever below their hash, and for a moment by their
// bare name.
func Static() http.Handler {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err)
	}
	server := http.FileServerFS(static)
	return http.StripPrefix(StaticPath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := path.Base(r.URL.Path)
		hash, known := hashes[name]
		switch r.URL.Path {
		case hash + "/" + name:
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		case name:
			w.Header().Set("Cache-Control", "no-cache")
		default:
			known = false
		}
		if !known {
			http.NotFound(w, r)
			return
		}
		r.URL.Path = strings.TrimPrefix(r.URL.Path, hash+"/")
		server.ServeHTTP(w, r)
	}))
}
