// Package web holds the pages that people see in a browser: templates, which
// escape what they show, and the files that these load. Pages run no script and
// use no style but those files, and say so to the browser.
package web

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
)

//go:embed page static
var files embed.FS

var templates = template.Must(template.ParseFS(files, "page/*.html"))

// StaticPath is where the pages expect their files.
const StaticPath = "/static/"

// Static serves the files.
func Static() http.Handler {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return http.StripPrefix(StaticPath, http.FileServerFS(static))
}

// Page is something that Show can show: a struct with the name of its template.
type Page interface{ template() string }

// Show answers with a page. Its forms may be sent to us and to the origin of
// formsTo, unless that is empty.
func Show(w http.ResponseWriter, status int, p Page, formsTo string) error {
	var text bytes.Buffer
	if err := templates.ExecuteTemplate(&text, p.template(), p); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy(formsTo))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	// Another site that gets a form learns our origin, and no address.
	h.Set("Referrer-Policy", "strict-origin")
	w.WriteHeader(status)
	_, err := text.WriteTo(w)
	return err
}

func policy(formsTo string) string {
	targets := "'self'"
	if u, err := url.Parse(formsTo); err == nil && u.Host != "" {
		targets += " " + u.Scheme + "://" + u.Host
	}
	return "default-src 'none'; style-src 'self'; script-src 'self'; form-action " + targets + "; base-uri 'none'; frame-ancestors 'none'"
}
