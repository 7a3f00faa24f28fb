package handlers

import (
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// observe gives every request an id, which its log lines and its answer carry,
// and turns a panic into an answer.
func (d Deps) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := telemetry.NewRequestID()
		log := d.Log.With().Str(telemetry.RequestID, id).Logger()
		r = r.WithContext(telemetry.WithRequestID(log.WithContext(r.Context()), id))
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		defer func() {
			if cause := recover(); cause != nil {
				fail(w, r, fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// fail answers with an error, and logs it when it is ours to mend.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	status := fault.Status(err)
	if status >= http.StatusInternalServerError {
		zerolog.Ctx(r.Context()).Error().Err(err).Str(telemetry.Method, r.Method).Str(telemetry.Path, r.URL.Path).
			Int(telemetry.Status, status).Msg("request failed")
	}
	writeProblem(r.Context(), w, status, err)
}

// nothing answers for paths that do not exist.
func (d Deps) nothing(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" && r.Method == http.MethodGet {
		fmt.Fprintln(w, "DevFlowFix. The API is described at /openapi.json.")
		return
	}
	fail(w, r, fault.New(fault.NotFound, "There is nothing at this address. /openapi.json lists what there is."))
}
