package gitlab

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/xanzy/go-gitlab"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
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
		return &fault.Error{Kind: fault.Transient, Code: "unreachable", Cause: err, Sentence: "GitLab cannot be reached, or does not answer as it should. It is tried again."}
	}
	return answered(refused)
}

// errNoAnswer is for a good status with a document that says nothing.
var errNoAnswer = errors.New("the answer is empty")

func answered(e *gitlab.ErrorResponse) error {
	switch status := e.Response.StatusCode; {
	case status == http.StatusTooManyRequests:
		wait := retryAfter(e.Response.Header)
		return &fault.Error{Kind: fault.Throttled, Code: "rate_limited", After: wait, Cause: e,
			Sentence: "GitLab limits how often we may ask. It is tried again at " + time.Now().Add(wait).UTC().Format("15:04 MST") + "."}
	case status == http.StatusUnauthorized:
		return &fault.Error{Kind: fault.Credentials, Code: fault.TokenRejected, Cause: e,
			Sentence: "GitLab rejects our token: it was revoked or has expired. Put a new one in its place."}
	case status == http.StatusForbidden && strings.Contains(e.Message, "insufficient_scope"):
		return &fault.Error{Kind: fault.Credentials, Code: "missing_scope", Cause: e,
			Sentence: "GitLab does not let us do this: the token needs the scope api. Log in again and grant it."}
	case status == http.StatusForbidden:
		return &fault.Error{Kind: fault.Credentials, Code: forge.NoAdmin, Cause: e,
			Sentence: "Webhooks need a Maintainer of the project, and the account that authorised us is none; or the project is archived."}
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
