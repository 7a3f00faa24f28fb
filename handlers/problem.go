package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

const problemType = "application/problem+json"

// problem is an RFC 9457 problem detail with members of our own. Its shape in
// the API's description is huma.ErrorModel with describeProblem's additions.
type problem struct {
	huma.ErrorModel
	Code      string `json:"code"`
	RequestID string `json:"request_id,omitempty"`
	// ConnectionID is the connection that is in the way (already_connected).
	ConnectionID string `json:"connection_id,omitempty"`
}

// describeProblem adds our members to the description of problem details, and
// says which are always there.
func describeProblem(api huma.API) {
	schema := api.OpenAPI().Components.Schemas.Map()["ErrorModel"]
	schema.Required = []string{"type", "title", "status", "detail", "code", "request_id"}
	properties := schema.Properties
	properties["code"] = &huma.Schema{Type: huma.TypeString, Description: "Names the failure for programs."}
	properties["request_id"] = &huma.Schema{Type: huma.TypeString, Description: "Give it to the operator when you report the failure."}
	properties["connection_id"] = &huma.Schema{Type: huma.TypeString, Description: "The existing connection, for already_connected."}
}

// problemFor describes an error to a caller: its sentence, nothing of its
// cause.
func problemFor(ctx context.Context, status int, err error) *problem {
	p := &problem{Code: fault.Code(err), RequestID: telemetry.RequestIDFrom(ctx)}
	p.Type, p.Title, p.Status, p.Detail = "about:blank", http.StatusText(status), status, fault.Sentence(err)
	if known, ok := errors.AsType[*fault.Error](err); ok && known.Field != "" {
		p.Errors = []*huma.ErrorDetail{{Message: known.Sentence, Location: known.Field}}
	}
	return p
}

func (p *problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// writeProblem answers with an error.
func writeProblem(ctx context.Context, w http.ResponseWriter, status int, err error) {
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="devflowfix"`)
	}
	problemFor(ctx, status, err).write(w)
}
