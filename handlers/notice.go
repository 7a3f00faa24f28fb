package handlers

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/devflowfix/devflowfix/internal/web"
)

// A notice travels to the next page in a cookie, not in the session: pages ask
// for their parts while forms are sent, and sessions are kept whole, so that
// one request would undo what another one left.
const (
	noticeCookie = "devflowfix-notice"
	// noticeLife is when a notice that no page has shown is stale, in seconds.
	noticeLife = 60
	// mostNotice is how long a notice may be, in bytes; browsers keep cookies
	// up to 4 KiB.
	mostNotice = 2000
)

func (d Deps) noticeCookie(value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: noticeCookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true,
		Secure: strings.HasPrefix(d.BaseURL, "https://"), SameSite: http.SameSiteStrictMode,
	}
}

// leaveNotice leaves a notice for the next page.
func (d Deps) leaveNotice(w http.ResponseWriter, n web.Notice) {
	if len(n.Text) > mostNotice {
		n.Text = strings.ToValidUTF8(n.Text[:mostNotice], "") + "…"
	}
	encoded, err := json.Marshal(n)
	if err != nil {
		return // a struct of a text and a flag
	}
	http.SetCookie(w, d.noticeCookie(base64.RawURLEncoding.EncodeToString(encoded), noticeLife))
}

// noticeOf is the notice that was left for this page; none for a part of one,
// which does not show it.
func noticeOf(r *http.Request) web.Notice {
	cookie, err := r.Cookie(noticeCookie)
	if err != nil || isPart(r) {
		return web.Notice{}
	}
	var n web.Notice
	encoded, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || json.Unmarshal(encoded, &n) != nil {
		return web.Notice{}
	}
	return n
}

// takeNotice makes the browser forget the notice that this page shows.
func (d Deps) takeNotice(w http.ResponseWriter, r *http.Request) {
	if noticeOf(r).Text != "" {
		http.SetCookie(w, d.noticeCookie("", -1))
	}
}

// isPart reports whether a part of a page is asked for, not its whole content.
func isPart(r *http.Request) bool { return fromHTMX(r) && r.Header.Get("HX-Target") != "main" }
