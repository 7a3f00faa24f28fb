// Package client speaks DevFlowFix's own REST API for the command line. Its
// answers keep the document that the server sent beside what is decoded of it,
// so that programs get the API's own words; members that this release does not
// know stay in the document and are no failure.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
)

const (
	// requestTimeout bounds one request. The API itself waits up to 10 seconds
	// for a delivery that is to be verified.
	requestTimeout = 30 * time.Second
	// largestAnswer bounds what is read: a delivery's payload may have 25 MB.
	largestAnswer = 64 << 20
	userAgent     = "devflowfix-cli"
)

// Client is one user at one server. It is safe for concurrent use.
type Client struct {
	server *url.URL
	token  string
	http   *http.Client
}

// New returns a client for the server at a base URL, which may have a path. It
// makes no request. Invalid when the URL is none, or would carry the token
// unencrypted over a network.
func New(server, token string) (*Client, error) {
	u, err := parseServer(server)
	if err != nil {
		return nil, err
	}
	if !isHeaderText(token) {
		return nil, fault.New(fault.Invalid, "That is no token: it is one word without spaces.")
	}
	return &Client{server: u, token: token, http: &http.Client{CheckRedirect: stay}}, nil
}

// CheckServer is nil for a URL that New takes.
func CheckServer(server string) error {
	_, err := parseServer(server)
	return err
}

func parseServer(server string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(strings.TrimSpace(server), "/"))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fault.New(fault.Invalid, "The server is named by its address, https://devflowfix.example.com.")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, fault.New(fault.Invalid, fmt.Sprintf("The token is not sent to %s over http, where others can read it. Name the server by https; http is for this machine alone.", u.Host))
	}
	return u, nil
}

// Server is the server's base URL, without a slash at its end.
func (c *Client) Server() string { return c.server.String() }

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func isHeaderText(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// stay follows no redirect: the token is for the server that was named, and a
// write must not become a read.
func stay(next *http.Request, _ []*http.Request) error {
	return &fault.Error{Kind: fault.Invalid, Sentence: fmt.Sprintf(
		"The server sends on to %s://%s. Log in there if that is its right address.", next.URL.Scheme, next.URL.Host)}
}

// call makes a request and returns the document that answers it.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body any) (json.RawMessage, error) {
	within, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := c.send(within, method, path, query, body)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	document, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer))
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if !json.Valid(document) {
		return nil, c.stranger()
	}
	return document, nil
}

// send makes a request and returns the answer to it, which the caller closes.
// An answer that says no is an error.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		content = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.server.String()+path+encode(query), content)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", userAgent)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if response.StatusCode < http.StatusBadRequest {
		return response, nil
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	document, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer))
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return nil, c.refusal(response, document)
}

func encode(query url.Values) string {
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// unreachable says why there is no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if known, ok := errors.AsType[*fault.Error](err); ok {
		return known
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.New(fault.Unavailable, "Interrupted.")
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fault.New(fault.Unavailable, fmt.Sprintf("%s did not answer within %s. Try again, or look whether it runs.", c.Server(), requestTimeout))
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // the outer one repeats the address
	}
	return fault.New(fault.Unavailable, fmt.Sprintf("%s cannot be reached (%v). Check the address, and whether it runs.", c.Server(), err))
}

func (c *Client) stranger() error {
	return fault.New(fault.Unavailable, c.Server()+" does not answer as DevFlowFix does. Check the address.")
}

// problem is a problem detail (RFC 9457) as our API sends it.
type problem struct {
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
	Errors    []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
	} `json:"errors"`
}

// kinds say what a status means; all others are Unavailable.
var kinds = map[int]fault.Kind{
	http.StatusUnauthorized: fault.Unauthenticated, http.StatusForbidden: fault.Forbidden, http.StatusNotFound: fault.NotFound,
	http.StatusConflict: fault.Conflict, http.StatusUnprocessableEntity: fault.Invalid, http.StatusBadRequest: fault.Invalid,
	http.StatusTooManyRequests: fault.Limited, http.StatusBadGateway: fault.Transient,
}

// refusal makes a sentence of an answer that says no.
func (c *Client) refusal(response *http.Response, document []byte) error {
	var p problem
	if json.Unmarshal(document, &p) != nil || p.Detail == "" {
		if response.StatusCode < http.StatusInternalServerError {
			return c.stranger()
		}
		return fault.New(fault.Unavailable, fmt.Sprintf("%s answers %s. Try again in a moment.", c.Server(), response.Status))
	}
	kind, known := kinds[response.StatusCode]
	if !known {
		kind = fault.Unavailable
	}
	out := &fault.Error{Kind: kind, Code: p.Code, Sentence: p.Detail}
	for _, e := range p.Errors {
		if e.Message != p.Detail {
			out.Sentence += fmt.Sprintf(" %s: %s", e.Location, e.Message)
		}
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		out.After = time.Duration(seconds) * time.Second
		out.Sentence += fmt.Sprintf(" Wait %s.", out.After)
	}
	if kind == fault.Unauthenticated {
		out.Sentence = "The server does not accept the token: it has ended, was revoked, or is of another server. Run `devflowfix login` again."
	}
	if response.StatusCode >= http.StatusInternalServerError && p.RequestID != "" {
		out.Sentence += fmt.Sprintf(" (request %s)", p.RequestID)
	}
	return out
}
