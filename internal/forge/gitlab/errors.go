package gitlab

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/xanzy/go-gitlab"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// classify turns what the client returns into a kind of failure.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, gitlab.ErrNotFound) { // the client has a value of its own for 404
		return fault.Wrap(fault.NotFound, err, "GitLab does not have it, or does not show it to us.")
	}
	refused, ok := errors.AsType[*gitlab.ErrorResponse](err)
	if !ok || refused.Response == nil {
		// Refused and cut connections, time-outs, answers that are no JSON.
		return fault.Wrap(fault.Transient, err, "GitLab does not answer as it should. It is tried again.")
	}
	return answered(refused)
}

func answered(e *gitlab.ErrorResponse) error {
	switch status := e.Response.StatusCode; {
	case status == http.StatusTooManyRequests:
		return &fault.Error{Kind: fault.Throttled, Code: "rate_limited", After: retryAfter(e.Response.Header), Cause: e,
			Sentence: "GitLab limits how often we may ask. It is tried again when GitLab allows it."}
	case status == http.StatusUnauthorized:
		return &fault.Error{Kind: fault.Credentials, Code: fault.TokenRejected, Cause: e,
			Sentence: "GitLab rejects our token: it was revoked or has expired. Put a new one in its place."}
	case status == http.StatusForbidden:
		return &fault.Error{Kind: fault.Credentials, Code: "missing_permission", Cause: e,
			Sentence: "GitLab does not let us do this: the token needs the scope api, and its owner the role Maintainer in the project."}
	case status == http.StatusUnprocessableEntity || status == http.StatusBadRequest:
		return unprocessable(e)
	case status >= 500:
		return fault.Wrap(fault.Transient, e, "GitLab has trouble. It is tried again.")
	default:
		return fault.Wrap(fault.Permanent, e, "GitLab refuses the request (HTTP "+strconv.Itoa(status)+").")
	}
}

func unprocessable(e *gitlab.ErrorResponse) error {
	if strings.Contains(e.Message, "Maximum number of") {
		return &fault.Error{Kind: fault.Permanent, Code: "hook_limit", Cause: e,
			Sentence: "The project has as many webhooks as GitLab allows. Remove one that is not needed."}
	}
	return fault.Wrap(fault.Permanent, e, "GitLab does not accept the webhook's settings. Check the URL (an instance may refuse local networks) and the events.")
}

// shortestWait is for an answer that names no time; GitLab counts by the minute.
const shortestWait = time.Minute

func retryAfter(h http.Header) time.Duration {
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	if reset, err := strconv.ParseInt(h.Get("RateLimit-Reset"), 10, 64); err == nil {
		if wait := time.Until(time.Unix(reset, 0)); wait > 0 {
			return wait
		}
	}
	return shortestWait
}
