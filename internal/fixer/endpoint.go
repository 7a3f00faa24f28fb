package fixer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// Endpoint is an address that the incident is posted to. It answers 200 with
// the patch, or 204 when it knows none.
type Endpoint struct {
	URL   string
	Token secret.Text  // sent as a bearer token; none when empty
	HTTP  *http.Client // bounds the time
}

// Propose posts the incident.
func (e Endpoint) Propose(ctx context.Context, i Incident) ([]byte, error) {
	document, err := encode(i)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(document))
	if err != nil {
		return nil, fault.New(fault.Permanent, "The fixer's address is no URL.")
	}
	request.Header.Set("Content-Type", "application/json")
	if !e.Token.IsZero() {
		request.Header.Set("Authorization", "Bearer "+e.Token.Reveal())
	}
	response, err := e.HTTP.Do(request)
	if failed, is := errors.AsType[*url.Error](err); is && failed.Timeout() {
		return nil, fault.Wrap(fault.Permanent, err, fmt.Sprintf("The fixer did not answer within %s.", e.HTTP.Timeout))
	}
	if err != nil {
		return nil, fault.Wrap(fault.Transient, err, "The fixer does not answer.")
	}
	defer response.Body.Close() //nolint:errcheck
	var answer bounded
	switch _, err := io.Copy(&answer, response.Body); {
	case errors.Is(err, errTooLong):
		return nil, errTooLong
	case err != nil:
		return nil, fault.Wrap(fault.Transient, err, "The fixer's answer broke off.")
	}
	sentence := fmt.Sprintf("The fixer answered %d.", response.StatusCode)
	switch status := response.StatusCode; {
	case status == http.StatusOK:
		return answer.bytes, nil
	case status == http.StatusNoContent:
		return nil, nil
	case status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		return nil, fault.New(fault.Transient, sentence)
	default:
		return nil, fault.New(fault.Permanent, sentence)
	}
}
