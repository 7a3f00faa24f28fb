package github

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// classify turns what go-github returns into a kind of failure. The order
// matters: a 403 is a missing right or a rate limit.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var primary *github.RateLimitError
	var secondary *github.AbuseRateLimitError
	var refused *github.ErrorResponse
	var mint *ghinstallation.HTTPError
	switch {
	case errors.As(err, &primary):
		return throttled(err, time.Until(primary.Rate.Reset.Time))
	case errors.As(err, &secondary):
		return throttled(err, secondary.GetRetryAfter())
	case errors.As(err, &refused) && refused.Response != nil:
		return answered(refused)
	case errors.As(err, &mint) && mint.Response != nil:
		return notMinted(mint)
	default:
		// Refused and cut connections, time-outs, answers that are no JSON.
		return &fault.Error{Kind: fault.Transient, Code: "unreachable", Cause: err, Sentence: "GitHub cannot be reached, or does not answer as it should. It is tried again."}
	}
}

// errNoAnswer is for a good status without a document, such as a proxy gives.
// go-github takes it for an empty one: no hooks, or a hook without an id.
var errNoAnswer = errors.New("the answer is empty")

// shortestWait is what GitHub's documentation asks for when it names no time.
const shortestWait = time.Minute

func throttled(cause error, wait time.Duration) error {
	if wait <= 0 {
		wait = shortestWait
	}
	return &fault.Error{Kind: fault.Throttled, Code: "rate_limited", After: wait, Cause: cause,
		Sentence: "GitHub limits how often we may ask. It is tried again at " + time.Now().Add(wait).UTC().Format("15:04 MST") + "."}
}

func answered(e *github.ErrorResponse) error {
	header := e.Response.Header
	switch status := e.Response.StatusCode; {
	case status == http.StatusTooManyRequests || status == http.StatusForbidden && isLimit(header):
		return throttled(e, retryAfter(header))
	case status == http.StatusUnauthorized:
		return &fault.Error{Kind: fault.Credentials, Code: fault.TokenRejected, Cause: e,
			Sentence: "GitHub rejects our token: it was revoked or has expired. Put a new one in its place."}
	case isSuspended(status, e.Message):
		return suspended(e)
	case status == http.StatusForbidden:
		return forbidden(e)
	case status == http.StatusNotFound && missingScope(header) != "":
		return forbidden(e)
	case status == http.StatusNotFound:
		return fault.Wrap(fault.NotFound, e, "GitHub does not have it, or does not show it to us.")
	case status == http.StatusUnprocessableEntity:
		return unprocessable(e)
	case status >= 500:
		return fault.Wrap(fault.Transient, e, "GitHub has trouble. It is tried again.")
	default:
		return fault.Wrap(fault.Permanent, e, "GitHub refuses the request (HTTP "+strconv.Itoa(status)+").")
	}
}

func isLimit(h http.Header) bool {
	return h.Get("Retry-After") != "" || h.Get("X-RateLimit-Remaining") == "0"
}

func retryAfter(h http.Header) time.Duration {
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil && h.Get("X-RateLimit-Remaining") == "0" {
		return time.Until(time.Unix(reset, 0))
	}
	return 0
}

// notMinted reads why GitHub gave no token of an installation.
func notMinted(e *ghinstallation.HTTPError) error {
	header := e.Response.Header
	text, _ := io.ReadAll(io.LimitReader(e.Response.Body, 4<<10)) // what there is of it
	e.Response.Body.Close()
	switch status := e.Response.StatusCode; {
	case status == http.StatusTooManyRequests || status == http.StatusForbidden && isLimit(header):
		return throttled(e, retryAfter(header))
	case status == http.StatusUnauthorized:
		return badKey(e)
	case isSuspended(status, string(text)):
		return suspended(e)
	case status == http.StatusNotFound:
		return gone(e)
	case status >= 500:
		return fault.Wrap(fault.Transient, e, "GitHub has trouble. It is tried again.")
	default:
		return fault.Wrap(fault.Permanent, e, "GitHub gives no token of the installation (HTTP "+strconv.Itoa(status)+").")
	}
}

// isSuspended recognises the 403 by its text alone: GitHub gives it no code.
func isSuspended(status int, text string) bool {
	return status == http.StatusForbidden && strings.Contains(text, "installation has been suspended")
}

func suspended(cause error) error {
	return &fault.Error{Kind: fault.Credentials, Code: forge.InstallationSuspended, Cause: cause,
		Sentence: "The GitHub App is suspended on this account. An owner resumes it in the account's settings at GitHub."}
}

// forbidden tells the reasons of a 403 apart: by their texts, for GitHub gives
// them no codes, and by the headers that name what is missing
// (docs.github.com, "Troubleshooting the REST API" and "Authenticating with
// SAML single sign-on").
func forbidden(e *github.ErrorResponse) error {
	header, text := e.Response.Header, e.Message
	credentials := func(code, sentence string) error {
		return &fault.Error{Kind: fault.Credentials, Code: code, Sentence: sentence, Cause: e}
	}
	switch missing := header.Get("X-Accepted-GitHub-Permissions"); {
	case strings.Contains(text, "archived"):
		return &fault.Error{Kind: fault.Permanent, Code: forge.Archived, Cause: e,
			Sentence: "The repository is archived, so GitHub changes nothing in it. Unarchive it to resume."}
	case strings.HasPrefix(header.Get("X-GitHub-SSO"), "required"):
		_, url, _ := strings.Cut(header.Get("X-GitHub-SSO"), "url=")
		return credentials("sso_required", "The organisation asks for single sign-on. Authorise DevFlowFix for it: "+url)
	case strings.Contains(text, "OAuth App access restrictions"):
		return credentials("oauth_app_restricted", "The organisation restricts OAuth apps. An owner approves DevFlowFix in its settings, under Third-party Access.")
	case strings.Contains(text, "admin rights"):
		return credentials(forge.NoAdmin, "Webhooks need an admin of the repository, and the account that authorised us is none.")
	case missing != "":
		return credentials("missing_permission", "GitHub does not let us do this: the token needs "+missing+".")
	}
	if scope := missingScope(header); scope != "" {
		return credentials("missing_scope", "GitHub does not let us do this: the token needs the scope "+scope+". Log in again and grant it.")
	}
	return credentials("missing_permission", "GitHub does not let us do this: the token lacks a permission, or its owner is no admin of the repository.")
}

// missingScope names the scope that would do, when a token has scopes and none
// of them does. GitHub answers such requests with 403 or, to hide what is
// private, 404.
func missingScope(h http.Header) string {
	held, accepted := list(h.Get("X-OAuth-Scopes")), list(h.Get("X-Accepted-OAuth-Scopes"))
	if len(h.Values("X-OAuth-Scopes")) == 0 || len(accepted) == 0 {
		return ""
	}
	for _, scope := range held {
		if slices.Contains(accepted, scope) {
			return ""
		}
	}
	return accepted[0]
}

func list(header string) []string {
	return strings.FieldsFunc(header, func(r rune) bool { return r == ',' || r == ' ' })
}

// unprocessable reads a 422. That a hook exists already is told by its text
// alone: the answer has no code for it.
func unprocessable(e *github.ErrorResponse) error {
	var all []string
	for _, detail := range e.Errors {
		all = append(all, detail.Message)
	}
	text := strings.Join(append(all, e.Message), " ")
	switch {
	case strings.Contains(text, "already exists"):
		return fault.Wrap(fault.Conflict, e, "GitHub has this hook already.")
	case strings.Contains(text, "more than 20"):
		return &fault.Error{Kind: fault.Permanent, Code: "hook_limit", Cause: e,
			Sentence: "The repository has 20 webhooks, which is GitHub's limit. Remove one that is not needed."}
	default:
		return fault.Wrap(fault.Permanent, e, "GitHub does not accept the webhook's settings. Check the URL and the events.")
	}
}
