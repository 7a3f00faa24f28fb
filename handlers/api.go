package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// bearer is the name of the way in which callers of the API prove who they are.
const bearer = "bearer"

// mountAPI adds the API. Its description is made from the same declarations
// that serve it.
func (d Deps) mountAPI(mux *http.ServeMux) {
	config := huma.DefaultConfig("DevFlowFix", "2")
	config.Info.Description = "Connect repositories, follow their webhooks, and read CI-failure incidents. Every failure is a problem detail (RFC 9457) whose detail says what to do."
	config.DocsPath = "" // huma's page loads its script from elsewhere
	config.SchemasPath = ""
	config.CreateHooks = nil // no $schema members in answers
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearer: {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A token from `devflowfix token --user NAME`."},
	}
	config.Security = []map[string][]string{{bearer: {}}}
	config.Transformers = []huma.Transformer{completeProblem}
	api := humago.New(mux, config)
	api.UseMiddleware(d.authenticate)

	d.connectionRoutes(api)
	d.incidentRoutes(api)
	describeProblem(api)
}

// authenticate lets in who shows a token of ours.
func (d Deps) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		fail(w, r, fault.New(fault.Unauthenticated, "Send `Authorization: Bearer` with a token from `devflowfix token --user NAME`."))
		return
	}
	id, err := d.Tokens.Verify(token)
	if err != nil {
		fail(w, r, err)
		return
	}
	next(huma.WithContext(ctx, auth.With(r.Context(), id)))
}

// completeProblem gives huma's own errors (input that does not fit) the shape
// of ours.
func completeProblem(ctx huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &problem{ErrorModel: *model, Code: string(fault.Invalid), RequestID: telemetry.RequestIDFrom(ctx.Context())}
	p.Type = "about:blank"
	switch model.Status {
	case http.StatusBadRequest:
		p.Code, p.Detail = string(fault.Malformed), "The body cannot be read as JSON. "+model.Detail
	case http.StatusUnprocessableEntity:
		p.Detail = "The input is not as the API expects it; see errors, and /openapi.json."
	case http.StatusRequestEntityTooLarge:
		p.Code = string(fault.TooLarge)
	case http.StatusUnsupportedMediaType:
		p.Code, p.Detail = string(fault.MediaType), "Send the body as application/json."
	}
	return p, nil
}

// call makes an API handler of a function that is given the caller. Its errors
// become answers here, and those that are ours to mend are logged.
func call[In, Out any](do func(context.Context, auth.Identity, *In) (*Out, error)) func(context.Context, *In) (*Out, error) {
	return func(ctx context.Context, in *In) (*Out, error) {
		caller, _ := auth.From(ctx) // authenticate let nobody else in
		out, err := do(ctx, caller, in)
		if err == nil {
			return out, nil
		}
		if own, ok := errors.AsType[*problem](err); ok {
			return nil, own
		}
		status := fault.Status(err)
		if status >= http.StatusInternalServerError {
			zerolog.Ctx(ctx).Error().Err(err).Int(telemetry.Status, status).Msg("request failed")
		}
		return nil, problemFor(ctx, status, err)
	}
}
