package fault_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
)

func TestEdgesAgreeOnAWrappedError(t *testing.T) {
	throttled := &fault.Error{Kind: fault.Throttled, Sentence: "GitHub asks to wait.", After: time.Minute}
	tests := []struct {
		name        string
		err         error
		wantStatus  int
		wantVerdict fault.Verdict
		wantAfter   time.Duration
	}{
		{"malformed is the sender's", fault.New(fault.Malformed, "No JSON."), http.StatusBadRequest, fault.Archive, 0},
		{"invalid is the sender's", fault.New(fault.Invalid, "Too long."), http.StatusUnprocessableEntity, fault.Archive, 0},
		{"a lost store is tried again", fault.New(fault.Unavailable, "Redis is down."), http.StatusServiceUnavailable, fault.Retry, 0},
		{"a forge that asks to wait is obeyed", throttled, http.StatusServiceUnavailable, fault.Retry, time.Minute},
		{"a refused token parks", fault.New(fault.Credentials, "Token revoked."), http.StatusForbidden, fault.Park, 0},
		{"a refused request is archived", fault.New(fault.Permanent, "No."), http.StatusBadGateway, fault.Archive, 0},
		{"an unknown error is ours", errors.New("nil map"), http.StatusInternalServerError, fault.Retry, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := fmt.Errorf("apply delivery 7: %w", tt.err)
			if got := fault.Status(err); got != tt.wantStatus {
				t.Errorf("Status = %d, want %d", got, tt.wantStatus)
			}
			verdict, after := fault.Decide(err)
			if verdict != tt.wantVerdict || after != tt.wantAfter {
				t.Errorf("Decide = %s after %s, want %s after %s", verdict, after, tt.wantVerdict, tt.wantAfter)
			}
		})
	}
}

func TestSentenceKeepsInternalsInside(t *testing.T) {
	err := fmt.Errorf("query: %w", errors.New("pq: password authentication failed for user dff"))
	if s := fault.Sentence(err); strings.Contains(s, "password") {
		t.Errorf("Sentence leaks the cause: %q", s)
	}
	known := fault.Wrap(fault.NotFound, errors.New("no rows"), "There is no connection rpc_1.")
	if s := fault.Sentence(fmt.Errorf("show: %w", known)); s != "There is no connection rpc_1." {
		t.Errorf("Sentence = %q", s)
	}
}
