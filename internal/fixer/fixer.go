// Package fixer asks the fixer that the operator plugs in: a command or an
// HTTP endpoint that is given an incident as JSON and answers with a unified
// diff of git. Nothing of ours goes with it but what the incident tells, and
// nothing of its answer goes into a log.
package fixer

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/patch"
)

// Fixer makes patches.
type Fixer interface {
	// Propose returns a patch that may mend an incident; empty when the fixer
	// knows none. The error is Transient when it is worth another try, and
	// Permanent when it is not.
	Propose(ctx context.Context, i Incident) ([]byte, error)
}

// Incident is what a fixer is told.
type Incident struct {
	ID          string    `json:"id"`
	URL         string    `json:"url"` // of its page
	Provider    string    `json:"provider"`
	Repository  string    `json:"repository_full_name"`
	Branch      string    `json:"branch"`
	BaseSHA     string    `json:"base_sha"` // the commit that the patch has to fit: the branch's head
	FailedSHA   string    `json:"failed_sha"`
	RunURL      string    `json:"run_url"`
	Workflow    string    `json:"workflow"`
	Job         string    `json:"job"`
	Headline    string    `json:"headline"`
	Category    string    `json:"category"`
	Fingerprint string    `json:"fingerprint"`
	OpenedAt    time.Time `json:"opened_at"`
	FailedJobs  any       `json:"failed_jobs"` // as the API shows them, with the lines that explain the failure
	Attempt     int       `json:"attempt"`     // from 1: how many fixes were asked for
}

// encode gives the document that a fixer reads.
func encode(i Incident) ([]byte, error) {
	document, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("document for the fixer: %w", err)
	}
	return append(document, '\n'), nil
}

var errTooLong = fault.New(fault.Permanent, "The fixer's answer is larger than 1 MiB.")

// bounded takes the bytes of an answer, and refuses more than a patch may have.
type bounded struct {
	bytes   []byte
	tooLong bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.bytes)+len(p) > patch.Largest {
		b.tooLong = true
		return 0, errTooLong
	}
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}
