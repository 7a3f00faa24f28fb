package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// observe gives every request an id, which its log lines, the tasks that it asks
// for and its answer carry, and turns a panic into an answer. An id that the
// caller has given it stays, if it is fit for the log.
func (d Deps) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !telemetry.IsRequestID(id) {
			id = telemetry.NewRequestID()
		}
		log := d.Log.With().Str(telemetry.RequestID, id).Logger()
		r = withAddress(r.WithContext(telemetry.WithRequestID(log.WithContext(r.Context()), id)), d.ProxyHops)
		w.Header().Set("X-Request-Id", id)
		defer func() {
			cause := recover()
			if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(cause) // an answer that cannot be ended well is cut off
			}
			if cause != nil {
				fail(w, r, fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// logged writes a line for each request, at debug. The receiver has lines of its
// own.
func logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log := zerolog.Ctx(r.Context())
		if log.GetLevel() > zerolog.DebugLevel {
			next.ServeHTTP(w, r)
			return
		}
		began, seen := time.Now(), &answered{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r)
		log.Debug().Str(telemetry.Method, r.Method).Str(telemetry.Path, r.URL.Path).Int(telemetry.Status, seen.status).
			Dur(telemetry.Duration, time.Since(began)).Msg("request")
	})
}

// answered sees the status of an answer.
type answered struct {
	http.ResponseWriter
	status int
}

// WriteHeader notes the status.
func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// guard sets what an answer tells a browser: keep nothing, guess nothing, run
// nothing, be in nobody's frame. Pages allow themselves more.
func (d Deps) guard(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if strings.HasPrefix(d.BaseURL, "https://") {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// fail answers with an error, and logs it when it is ours to mend.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	status := logFailure(r, err)
	writeProblem(r.Context(), w, status, err)
}

// nothing answers for paths that do not exist, and for methods that a path does
// not have. ServeMux itself would tell these apart, but not in our words.
func (d Deps) nothing(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		methods := methodsOf(mux, r)
		switch {
		case len(methods) > 0:
			w.Header().Set("Allow", strings.Join(methods, ", "))
			writeProblem(r.Context(), w, http.StatusMethodNotAllowed, &fault.Error{Kind: fault.Invalid, Code: "method_not_allowed",
				Sentence: "This address does not take " + r.Method + ". Use " + strings.Join(methods, " or ") + "."})
		default:
			d.failPage(w, r, fault.New(fault.NotFound, "There is nothing at this address. /openapi.json lists what there is."))
		}
	}
}

// methodsOf are the methods with which a request would have met a handler.
func methodsOf(mux *http.ServeMux, r *http.Request) []string {
	var methods []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := mux.Handler(&other); pattern != everythingElse {
			methods = append(methods, method)
		}
	}
	return methods
}
