package github

import (
	"mime"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tidwall/gjson"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
)

const (
	mediaJSON = "application/json"
	mediaForm = "application/x-www-form-urlencoded"
)

// Envelope reads the headers. Their names are as package net/http spells them,
// which need not be made so each time.
func (Receiver) Envelope(h http.Header, _ []byte) forge.Envelope {
	hookID, _ := strconv.ParseInt(h.Get("X-Github-Hook-Id"), 10, 64) // zero when it is none
	return forge.Envelope{
		Event:  payload.Printable(h.Get("X-Github-Event")),
		ID:     payload.Printable(h.Get("X-Github-Delivery")),
		HookID: hookID,
		App:    h.Get("X-Github-Hook-Installation-Target-Type") == "integration",
	}
}

var needed = map[string]bool{
	"workflow_run": true, "pull_request": true, "pull_request_review": true, "push": true, "ping": true, "repository": true, "meta": true,
	"installation": true, "installation_repositories": true, "installation_target": true, "github_app_authorization": true,
}

// Needs reports whether DevFlowFix has a use for the event.
func (Receiver) Needs(event string) bool { return needed[event] }

// Accepts reports whether GitHub sends this media type.
func (Receiver) Accepts(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == mediaJSON || media == mediaForm)
}

// Peek scans the body for who sent it. Members with a number that does not fit
// 64 bits, or of another type, count as absent.
func (r Receiver) Peek(contentType string, body []byte) forge.Peek {
	document := r.document(contentType, body)
	found := gjson.GetManyBytes(document, "repository.id", "repository.full_name", "installation.id", "action")
	return forge.Peek{
		RepositoryID: payload.Integer(found[0]),
		FullName:     payload.String(found[1], payload.Path),
		Installation: payload.Integer(found[2]),
		Action:       payload.String(found[3], payload.Name),
	}
}

// Payload returns the JSON document: the body, or its form field `payload`.
func (r Receiver) Payload(contentType string, body []byte) ([]byte, error) {
	document := r.document(contentType, body)
	if !payload.IsObject(document) {
		return nil, fault.New(fault.Malformed, "The body is not a JSON object.")
	}
	return document, nil
}

func (Receiver) document(contentType string, body []byte) []byte {
	media, _, _ := mime.ParseMediaType(contentType)
	if media != mediaForm {
		return body
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil
	}
	return []byte(form.Get("payload"))
}
