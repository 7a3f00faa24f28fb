package egress

import (
	"errors"
	"net/http"
	"net/url"
)

// errElsewhere means that a host wanted what it was sent to go to another one.
var errElsewhere = errors.New("the redirect leads to another host, which does not get what this one was sent")

// private are the headers that a host alone may see which they are for. The
// referrer may name a private repository.
var private = []string{"Authorization", "Private-Token", "Cookie", "Referer"}

// KeepCredentials keeps what is sent to a host from other hosts, to which it
// may redirect: they are asked without credentials, and are sent nothing else.
// http.Client alone does not: it sends bodies again, keeps the headers for
// subdomains, and does not know of a transport that adds them each time.
func KeepCredentials(next http.RoundTripper) http.RoundTripper { return keeper{next} }

type keeper struct{ next http.RoundTripper }

// RoundTrip makes a request, less what is not for its host.
func (k keeper) RoundTrip(r *http.Request) (*http.Response, error) {
	if isAtHome(firstOf(r).URL, r.URL) {
		return k.next.RoundTrip(r)
	}
	if r.Body != nil {
		r.Body.Close() //nolint:errcheck // nobody reads it
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, errElsewhere
	}
	bare := r.Clone(r.Context())
	bare.Body, bare.ContentLength = nil, 0
	for _, name := range private {
		bare.Header.Del(name)
	}
	return k.next.RoundTrip(bare)
}

// isAtHome reports whether an address is of the same host and port; from HTTP a
// host may lead to its HTTPS.
func isAtHome(home, at *url.URL) bool {
	upgraded := home.Scheme == "http" && at.Scheme == "https" && home.Hostname() == at.Hostname()
	return upgraded || home.Scheme == at.Scheme && home.Host == at.Host
}

// firstOf is the request that redirects have led to this one from.
func firstOf(r *http.Request) *http.Request {
	for r.Response != nil && r.Response.Request != nil {
		r = r.Response.Request
	}
	return r
}
