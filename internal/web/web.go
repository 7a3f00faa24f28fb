// Package web holds the pages that people see in a browser: templates, which
// escape what they show, and the files that these load. Pages run no script and
// use no style but those files, and say so to the browser.
//
// A page is a struct that embeds Frame and names its template. The template
// stands between {{template "top" .}} and {{template "bottom" .}}, in which the
// navigation, the notice and the place of the content are.
package web

import (
	"bytes"
	"html/template"
	"net/http"
	"net/url"
	"time"
)

var templates = template.Must(template.New("").Funcs(functions).ParseFS(files, "page/*.html"))

// Page is something that Show can show: a struct that embeds Frame, with the
// name of its template.
type Page interface{ template() string }

// The sections of the navigation.
const (
	Home         = "home"
	Incidents    = "incidents"
	Repositories = "repositories"
	Trends       = "trends"
	Settings     = "settings"
	Operations   = "operations"
)

// Frame is what every page has around its content.
type Frame struct {
	Title   string
	Section string // of the navigation; may be empty
	Address string // of the page itself, from which its live parts are fetched anew
	// Viewer is who looks; the zero Viewer when nobody has logged in.
	Viewer Viewer
	Notice Notice
	Now    time.Time
}

// Viewer is who looks at a page.
type Viewer struct {
	Name     string
	Operator bool
}

// Notice says at the top of a page what came of the last thing done.
type Notice struct {
	Text   string
	Failed bool
}

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
	_, _ = text.WriteTo(w) // who has gone away reads no failure either
	return nil
}

func policy(formsTo string) string {
	targets := "'self'"
	if u, err := url.Parse(formsTo); err == nil && u.Host != "" {
		targets += " " + u.Scheme + "://" + u.Host
	}
	return "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action " + targets +
		"; base-uri 'none'; frame-ancestors 'none'"
}
