// Package fault holds the kinds of failure that DevFlowFix knows, and what
// each means at its edges: an HTTP status for a caller, a verdict for a task.
//
// An error carries two texts. Its sentence is for the person who caused or
// suffers it: what happened and what to do. Its cause is for the operator's
// log. Code between the edges only wraps errors; the edges ask this package.
package fault

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Kind says what sort of failure an error is.
type Kind string

// The kinds. Every kind has a row in the table below.
const (
	// Malformed: the bytes cannot be read as what they claim to be.
	Malformed Kind = "malformed"
	// Invalid: readable, but outside its type, length or enumeration.
	Invalid Kind = "invalid"
	// Unauthenticated: no credential, or one that does not verify.
	Unauthenticated Kind = "unauthenticated"
	// Forbidden: a known caller who may not do this.
	Forbidden Kind = "forbidden"
	// NotFound: not there, or not the caller's to see.
	NotFound Kind = "not_found"
	// Conflict: the present state of the thing does not allow it.
	Conflict Kind = "conflict"
	// TooLarge: more bytes than the limit.
	TooLarge Kind = "too_large"
	// MediaType: a content type that is not accepted.
	MediaType Kind = "media_type"
	// Limited: the caller asks too often; After says how long to wait.
	Limited Kind = "limited"
	// Unavailable: a store of ours does not answer.
	Unavailable Kind = "unavailable"
	// Transient: a forge failed in a way that passes (5xx, time-out, reset).
	Transient Kind = "transient"
	// Throttled: a forge asks to wait; After says how long.
	Throttled Kind = "throttled"
	// Credentials: a forge refuses the token or what it is allowed to do.
	Credentials Kind = "credentials"
	// Permanent: a forge refuses the request itself; trying again is useless.
	Permanent Kind = "permanent"
	// Internal: a fault of DevFlowFix. Errors of no known kind count as this.
	Internal Kind = "internal"
)

// Codes that are looked at, not only shown.
const (
	// TokenRejected: a forge answers 401 to a token.
	TokenRejected = "token_rejected"
)

// Verdict is what a queue does with a task that failed.
type Verdict string

// The verdicts.
const (
	// Retry runs the task again, after After or the usual back-off.
	Retry Verdict = "retry"
	// Park stops the task; the thing it works on keeps the reason and is
	// taken up again when its cause goes away.
	Park Verdict = "park"
	// Archive stops the task for good; an operator may run it again.
	Archive Verdict = "archive"
)

type consequence struct {
	status  int
	verdict Verdict
}

var consequences = map[Kind]consequence{
	Malformed:       {http.StatusBadRequest, Archive},
	Invalid:         {http.StatusUnprocessableEntity, Archive},
	Unauthenticated: {http.StatusUnauthorized, Archive},
	Forbidden:       {http.StatusForbidden, Archive},
	NotFound:        {http.StatusNotFound, Archive},
	Conflict:        {http.StatusConflict, Archive},
	TooLarge:        {http.StatusRequestEntityTooLarge, Archive},
	MediaType:       {http.StatusUnsupportedMediaType, Archive},
	Limited:         {http.StatusTooManyRequests, Retry},
	Unavailable:     {http.StatusServiceUnavailable, Retry},
	Transient:       {http.StatusBadGateway, Retry},
	Throttled:       {http.StatusServiceUnavailable, Retry},
	Credentials:     {http.StatusForbidden, Park},
	Permanent:       {http.StatusBadGateway, Archive},
	Internal:        {http.StatusInternalServerError, Retry},
}

// Error is a failure of a known kind.
type Error struct {
	Kind Kind
	// Code names the failure for programs, in snake case; it may be empty.
	Code string
	// Sentence tells a person what happened and what to do about it.
	Sentence string
	// Field is the input that is at fault, for Invalid; it may be empty.
	Field string
	// After is how long to wait before the next try; zero means the usual.
	After time.Duration
	// Cause is for the operator; it may be nil.
	Cause error
}

// New returns an error of the given kind with a sentence for people.
func New(kind Kind, sentence string) *Error {
	return &Error{Kind: kind, Sentence: sentence}
}

// Wrap returns an error of the given kind with a sentence for people and a
// cause for the operator.
func Wrap(kind Kind, cause error, sentence string) *Error {
	return &Error{Kind: kind, Sentence: sentence, Cause: cause}
}

// Error is the operator's text: sentence and cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Sentence
	}
	return fmt.Sprintf("%s: %v", e.Sentence, e.Cause)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// KindOf returns the kind of err, Internal when it has none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is of the given kind. A nil error is of none.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Status returns the HTTP status that answers err.
func Status(err error) int { return consequences[KindOf(err)].status }

// Decide returns what a queue does with a task that failed with err, and how
// long it waits before a retry; zero means the usual back-off.
func Decide(err error) (Verdict, time.Duration) {
	if e, ok := errors.AsType[*Error](err); ok {
		return consequences[e.Kind].verdict, e.After
	}
	return consequences[Internal].verdict, 0
}

// Sentence returns what to tell a person about err. An error of no known kind
// gives a neutral sentence, so that nothing internal leaks.
func Sentence(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Kind != Internal {
		return e.Sentence
	}
	return "Something went wrong on our side. Try again; if it stays, give the request id to your operator."
}

// Code returns the program-readable name of err: its own code, else its kind;
// empty for nil.
func Code(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Code != "" {
		return e.Code
	}
	return string(KindOf(err))
}
