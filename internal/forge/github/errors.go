package github

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v89/github"

	"github.com/devflowfix/devflowfix/internal/fault"
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
	switch {
	case errors.As(err, &primary):
		return throttled(err, time.Until(primary.Rate.Reset.Time))
	case errors.As(err, &secondary):
		return throttled(err, secondary.GetRetryAfter())
	case errors.As(err, &refused) && refused.Response != nil:
		return answered(refused)
	default:
		// Refused and cut connections, time-outs, answers that are no JSON.
		return fault.Wrap(fault.Transient, err, "GitHub does not answer as it should. It is tried again.")
	}
}

// shortestWait is what GitHub's documentation asks for when it names no time.
const shortestWait = time.Minute

func throttled(cause error, wait time.Duration) error {
	if wait <= 0 {
		wait = shortestWait
	}
	return &fault.Error{Kind: fault.Throttled, Code: "rate_limited", After: wait, Cause: cause,
		Sentence: "GitHub limits how often we may ask. It is tried again when GitHub allows it."}
}

func answered(e *github.ErrorResponse) error {
	header := e.Response.Header
	switch status := e.Response.StatusCode; {
	case status == http.StatusTooManyRequests || status == http.StatusForbidden && isLimit(header):
		return throttled(e, retryAfter(header))
	case status == http.StatusUnauthorized:
		return &fault.Error{Kind: fault.Credentials, Code: fault.TokenRejected, Cause: e,
			Sentence: "GitHub rejects our token: it was revoked or has expired. Put a new one in its place."}
	case status == http.StatusForbidden:
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

// forbidden names the permission that is missing, as GitHub's headers do
// (docs.github.com, "Troubleshooting the REST API").
func forbidden(e *github.ErrorResponse) error {
	missing := e.Response.Header.Get("X-Accepted-GitHub-Permissions")
	if missing == "" {
		missing = e.Response.Header.Get("X-Accepted-OAuth-Scopes")
	}
	sentence := "GitHub does not let us do this: the token lacks a permission, or its owner is no admin of the repository."
	if missing != "" {
		sentence = "GitHub does not let us do this: the token needs " + missing + "."
	}
	return &fault.Error{Kind: fault.Credentials, Code: "missing_permission", Sentence: sentence, Cause: e}
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
