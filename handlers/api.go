package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/rs/zerolog"

	"github.com/devflowfix/devflowfix/internal/auth"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

// The ways in which callers of the API prove who they are.
const (
	bearer  = "bearer"
	session = "session"
)

// mountAPI adds the API. Its description is made from the same declarations
// that serve it.
func (d Deps) mountAPI(mux *http.ServeMux) {
	strictly()
	config := huma.DefaultConfig("DevFlowFix", "2")
	config.Info.Description = "Connect repositories, follow their webhooks, and read CI-failure incidents. Every failure is a problem detail (RFC 9457) whose detail says what to do."
	config.DocsPath = "" // huma's page loads its script from elsewhere
	config.SchemasPath = ""
	config.CreateHooks = nil // no $schema members in answers
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	config.Formats = map[string]huma.Format{"application/json": format, "json": format}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearer: {Type: "http", Scheme: "bearer", BearerFormat: "JWT",
			Description: "An access token (POST /api/v2/auth/token), a personal API token (dff_…), or a token of the operator's identity provider."},
		session: {Type: "apiKey", In: "cookie", Name: d.Sessions.Cookie.Name,
			Description: "The session of a browser that has logged in: /api/v2/oauth/{provider}/authorize."},
	}
	config.Security = []map[string][]string{{bearer: {}}, {session: {}}}
	config.Transformers = []huma.Transformer{completeProblem}
	api := humago.New(mux, config)
	api.UseMiddleware(d.authenticate)

	d.connectionRoutes(api)
	d.repositoryRoutes(api)
	d.webhookRoutes(api)
	d.deliveryRoutes(api)
	d.incidentRoutes(api)
	d.routingRoutes(api)
	d.grantRoutes(api)
	d.credentialRoutes(api)
	d.auditRoutes(api)
	d.notificationRoutes(api)
	describeProblem(api)
}

// strictly makes huma compare the names of members as JSON does, letter by
// letter. Else it would check only one of provider and PROVIDER, and
// encoding/json would take the other. The switch is huma's own, and global.
var strictly = sync.OnceFunc(func() { huma.ValidateStrictCasing = true })

// null stands for JSON's null while huma checks a body. huma takes null for a
// member that was left out; the API's description does not.
type null struct{}

func unmarshal(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	document, checking := v.(*any)
	if err != nil || !checking {
		return err
	}
	if members, ok := (*document).(map[string]any); ok {
		for name, value := range members {
			if value == nil {
				members[name] = null{}
			}
		}
	}
	return nil
}

// The statuses with which a route may fail: every route, and those that read a
// body.
var (
	everyRoute = []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusServiceUnavailable}
	bodyRoute = []int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}
)

// refusals say what huma means when it does not take a request.
var refusals = map[int]struct {
	kind     fault.Kind
	sentence string
}{
	http.StatusBadRequest:            {fault.Malformed, "The body cannot be read as JSON. Send what /openapi.json describes."},
	http.StatusRequestTimeout:        {fault.Malformed, "The body did not arrive in time. Send it again."},
	http.StatusRequestEntityTooLarge: {fault.TooLarge, "The body is larger than 1 MB. Send only what /openapi.json describes."},
	http.StatusUnsupportedMediaType:  {fault.MediaType, "Send the body as application/json."},
	http.StatusUnprocessableEntity:   {fault.Invalid, "The input is not as the API expects it; see errors, and /openapi.json."},
	http.StatusInternalServerError:   {fault.Malformed, "The body did not arrive whole. Send it again."},
}

// completeProblem gives huma's own errors (input that does not fit) the shape
// of ours.
func completeProblem(ctx huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	refusal := refusals[model.Status]
	p := &problem{ErrorModel: *model, Code: string(refusal.kind), RequestID: telemetry.RequestIDFrom(ctx.Context())}
	p.Type, p.Detail, p.Errors = "about:blank", refusal.sentence, nil
	if model.Status < http.StatusInternalServerError {
		for _, e := range model.Errors {
			p.Errors = append(p.Errors, inputError(e))
		}
	}
	return p, nil
}

// inputError makes a sentence of what huma says of an input, and names the
// input also when it is missing. The value is left out: who sent it knows it,
// and it may be large or secret.
func inputError(e *huma.ErrorDetail) *huma.ErrorDetail {
	location := e.Location
	var missing string
	if _, err := fmt.Sscanf(e.Message, validation.MsgExpectedRequiredProperty, &missing); err == nil {
		location += "." + missing
	}
	first, size := utf8.DecodeRuneInString(e.Message)
	return &huma.ErrorDetail{Location: location, Message: string(unicode.ToUpper(first)) + e.Message[size:] + "."}
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
