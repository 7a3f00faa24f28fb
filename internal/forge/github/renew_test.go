package github

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// oneApp is the GitHub App of a test.
type oneApp struct{ app forge.App }

func (a oneApp) App(context.Context) (forge.App, error) { return a.app, nil }

// TestARefusedTokenIsMadeAnew plays a GitHub that refuses the first token of an
// installation after a while, and every token after that for what must fail.
func TestARefusedTokenIsMadeAnew(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	tests := []struct {
		name     string
		age      time.Duration
		refusal  int
		accepted string // the token that works; empty for none
		minted   int
		ok       bool
	}{
		{"an old one is renewed", 11 * time.Second, http.StatusForbidden, "ghs_2", 2, true},
		{"one that is not known any more", 11 * time.Second, http.StatusUnauthorized, "ghs_2", 2, true},
		{"a right that is missing stays missing", 11 * time.Second, http.StatusForbidden, "", 2, false},
		{"a new one is what it is", time.Second, http.StatusForbidden, "ghs_2", 1, false},
		{"trouble is none of the token's", 11 * time.Second, http.StatusBadGateway, "ghs_2", 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				minted := 0
				g := &GitHub{config: Config{APIURL: "https://github.example/", App: oneApp{forge.App{ID: 1, PrivateKey: secret.NewText(string(text))}}}}
				g.transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					if strings.HasSuffix(r.URL.Path, "/access_tokens") {
						minted++
						return reply(http.StatusCreated, fmt.Sprintf(`{"token":"ghs_%d","expires_at":%q}`, minted, time.Now().Add(time.Hour).Format(time.RFC3339))), nil
					}
					if token := r.Header.Get("Authorization"); strings.HasSuffix(token, " "+tt.accepted) && tt.accepted != "" {
						return reply(http.StatusOK, `{"repositories":[]}`), nil
					}
					return reply(tt.refusal, `{"message":"no"}`), nil
				})
				if _, err := g.client(t.Context(), forge.Access{Installation: 7}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tt.age)
				_, err := g.InstallationRepositories(t.Context(), 7)
				if (err == nil) != tt.ok || minted != tt.minted {
					t.Errorf("%d tokens, %v", minted, err)
				}
				time.Sleep(2 * requestTimeout) // until every request's time is over
			})
		})
	}
}

func TestWhyThereIsNoTokenOfAnInstallation(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		header http.Header
		kind   fault.Kind
		code   string
	}{
		{"gone", http.StatusNotFound, `{}`, nil, fault.NotFound, forge.InstallationGone},
		{"suspended", http.StatusForbidden, `{"message":"This installation has been suspended"}`, nil, fault.Credentials, forge.InstallationSuspended},
		{"a wrong key", http.StatusUnauthorized, `{}`, nil, fault.Credentials, ""},
		{"limited", http.StatusForbidden, `{}`, http.Header{"Retry-After": {"7"}}, fault.Throttled, "rate_limited"},
		{"trouble", http.StatusBadGateway, `<html>`, nil, fault.Transient, ""},
		{"something else", http.StatusUnprocessableEntity, `{}`, nil, fault.Permanent, ""},
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := &GitHub{config: Config{APIURL: "https://github.example/", App: oneApp{forge.App{ID: 1, PrivateKey: secret.NewText(string(text))}}}}
			g.transport = roundTripper(func(*http.Request) (*http.Response, error) {
				r := reply(tt.status, tt.body)
				for name := range tt.header {
					r.Header.Set(name, tt.header.Get(name))
				}
				return r, nil
			})
			_, err := g.InstallationRepositories(t.Context(), 7)
			if !fault.Is(err, tt.kind) || tt.code != "" && fault.Code(err) != tt.code {
				t.Errorf("%v (%s, %s), want %s %s", err, fault.KindOf(err), fault.Code(err), tt.kind, tt.code)
			}
		})
	}
}

func reply(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}
