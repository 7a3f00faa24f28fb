package egress

import (
	"errors"
	"net/http"
)

// errElsewhere means that a host wanted what it was sent to go to another one.
var errElsewhere = errors.New("the redirect leads to another host, which does not get what this one was sent")

// credentials are the headers that a host alone may see which they are for.
var credentials = []string{"Authorization", "Private-Token", "Cookie"}

// KeepCredentials keeps what is sent to a host from other hosts, to which it
// may redirect: they are asked without credentials, and are sent nothing else.
// http.Client alone does not: it sends bodies again, keeps the headers for
// subdomains, and does not know of a transport that adds them each time.
func KeepCredentials(next http.RoundTripper) http.RoundTripper { return keeper{next} }

type keeper struct{ next http.RoundTripper }

func (k keeper) RoundTrip(r *http.Request) (*http.Response, error) {
	if first := firstOf(r); first.URL.Host == r.URL.Host && first.URL.Scheme == r.URL.Scheme {
		return k.next.RoundTrip(r)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, errElsewhere
	}
	bare := r.Clone(r.Context())
	for _, name := range credentials {
		bare.Header.Del(name)
	}
	return k.next.RoundTrip(bare)
}

// firstOf is the request that redirects have led to this one from.
func firstOf(r *http.Request) *http.Request {
	for r.Response != nil && r.Response.Request != nil {
		r = r.Response.Request
	}
	return r
}
