package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// Contract is what the API promises in the description that it serves.
type Contract struct {
	Description *openapi3.T
	router      routers.Router
}

// ReadContract reads a description, which must be valid itself.
func ReadContract(ctx context.Context, description []byte) (*Contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(description)
	if err != nil {
		return nil, fmt.Errorf("the API's description: %w", err)
	}
	if err := doc.Validate(ctx, openapi3.EnableSchemaFormatValidation()); err != nil {
		return nil, fmt.Errorf("the API's description is not valid: %w", err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("the API's description has routes that nobody can call: %w", err)
	}
	return &Contract{Description: doc, router: router}, nil
}

// Breach says how a request and its answer break the contract; nil when they
// keep it. An address that the contract does not have is answered with 404, a
// method that an address does not have with 405, both with a problem detail.
func (c *Contract) Breach(r Request, a Answer) error {
	request, err := r.build(context.Background(), "http://localhost")
	if err != nil {
		return err
	}
	route, params, err := c.router.FindRoute(request)
	switch {
	case errors.Is(err, routers.ErrMethodNotAllowed):
		return c.notThere(a, http.StatusMethodNotAllowed)
	case err != nil:
		return c.notThere(a, http.StatusNotFound)
	}
	asked := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: params, Route: route,
		Options: &openapi3filter.Options{SkipSettingDefaults: true, RejectWhenRequestBodyNotSpecified: true, AuthenticationFunc: hasToken},
	}
	if taken(a.Status) {
		if err := openapi3filter.ValidateRequest(context.Background(), asked); err != nil {
			return fmt.Errorf("the API has taken a request that its description refuses: %w", err)
		}
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: asked, Status: a.Status, Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.Body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
}

// taken reports whether the API found nothing wrong with the request itself.
func taken(status int) bool {
	return status < 400 || status == http.StatusNotFound || status == http.StatusConflict || status >= 500
}

// hasToken is what the contract asks of every request: a token, or the cookie
// of a session. Whether it is good the answer tells.
func hasToken(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	r := in.RequestValidationInput.Request
	if in.SecurityScheme.In == "cookie" {
		_, err := r.Cookie(in.SecurityScheme.Name)
		return err
	}
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return errors.New("no bearer token")
	}
	return nil
}

func (c *Contract) notThere(a Answer, want int) error {
	if a.Status != want {
		return fmt.Errorf("the description does not have this route, but it is answered with %d", a.Status)
	}
	if ct := a.Header.Get("Content-Type"); ct != problemType {
		return fmt.Errorf("the content type is %q, want %q", ct, problemType)
	}
	var doc any
	if err := json.Unmarshal(a.Body, &doc); err != nil {
		return err
	}
	return c.Description.Components.Schemas["ErrorModel"].Value.VisitJSON(doc, openapi3.EnableJSONSchema2020(), openapi3.VisitAsResponse())
}
