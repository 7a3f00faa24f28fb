package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

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

	after time.Duration // how long to wait before the next try; zero when nobody knows
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
	if known, ok := errors.AsType[*fault.Error](err); ok {
		p.after = known.After
		if known.Field != "" {
			p.Errors = []*huma.ErrorDetail{{Message: known.Sentence, Location: known.Field}}
		}
	}
	return p
}

// GetHeaders are the headers that go with a problem. huma asks for them too.
func (p *problem) GetHeaders() http.Header {
	header := http.Header{}
	if p.Status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="devflowfix"`)
	}
	if p.after > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.after.Seconds()))))
	}
	return header
}

// write answers with the problem. Headers that are set already stay.
func (p *problem) write(w http.ResponseWriter) {
	for name, values := range p.GetHeaders() {
		if w.Header().Get(name) == "" {
			w.Header()[name] = values
		}
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

// writeProblem answers with an error.
func writeProblem(ctx context.Context, w http.ResponseWriter, status int, err error) {
	problemFor(ctx, status, err).write(w)
}
