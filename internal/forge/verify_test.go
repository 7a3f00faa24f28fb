package forge_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/forge/gitlab"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// TestGitHubsDocumentedSignature is the example of docs.github.com,
// "Validating webhook deliveries".
func TestGitHubsDocumentedSignature(t *testing.T) {
	key := forge.Key{Secret: secret.NewText("It's a Secret to Everybody")}
	h := http.Header{"X-Hub-Signature-256": {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}}
	if !(github.Receiver{}).Verify(h, []byte("Hello, World!"), key, time.Now()) {
		t.Error("the documented example does not verify")
	}
	if (github.Receiver{}).Verify(h, []byte("Hello, World?"), key, time.Now()) {
		t.Error("another body verifies")
	}
}

// TestStandardWebhooksDocumentedSignature is the example of the Standard
// Webhooks specification, whose scheme GitLab 19.0 uses.
func TestStandardWebhooksDocumentedSignature(t *testing.T) {
	key := forge.Key{SigningToken: secret.NewText("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}
	body := []byte(`{"test": 2432232314}`)
	at := time.Unix(1614265330, 0)
	h := http.Header{
		"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	}
	if !(gitlab.Receiver{}).Verify(h, body, key, at.Add(4*time.Minute)) {
		t.Error("the documented example does not verify")
	}
	for name, changed := range map[string]func(){
		"another version": func() { h.Set("Webhook-Signature", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=") },
		"another id":      func() { h.Set("Webhook-Id", "msg_1") },
		"no id":           func() { h.Del("Webhook-Id") },
	} {
		kept := h.Clone()
		changed()
		if (gitlab.Receiver{}).Verify(h, body, key, at) {
			t.Errorf("%s verifies", name)
		}
		h = kept
	}
}

func TestDifferentRunsOfGitLabsRetriedPipelineAreToldApart(t *testing.T) {
	decode := func(finished string) forge.Run {
		e, err := gitlab.Receiver{}.Decode("Pipeline Hook", []byte(`{"object_kind":"pipeline","project":{"id":1,"web_url":"https://g/x"},
			"object_attributes":{"id":31,"ref":"main","status":"failed","finished_at":"`+finished+`","variables":[{"key":"K","value":"hunter2"}]},
			"builds":[{"id":380,"stage":"deploy","name":"production","status":"skipped","when":"manual","allow_failure":false},
				{"id":379,"name":"image","stage":"image","status":"failed","allow_failure":true,"failure_reason":"script_failure"},
				{"id":378,"name":"test","stage":"test","status":"failed","allow_failure":false,"failure_reason":"runner_system_failure"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return *e.Run
	}
	first, second := decode("2016-08-12 15:26:29 UTC"), decode("2016-08-12T15:28:29.500Z")
	if first.ID != second.ID || first.Attempt >= second.Attempt {
		t.Errorf("attempts %d and %d of run %d", first.Attempt, second.Attempt, first.ID)
	}
	if failed := first.FailedJobs(); len(first.Jobs) != 3 || len(failed) != 1 || failed[0].Name != "test" || failed[0].Conclusion != "runner_system_failure" {
		t.Errorf("jobs = %+v", first.Jobs)
	}
	if encoded, _ := json.Marshal(first); strings.Contains(string(encoded), "hunter2") {
		t.Errorf("a pipeline's variable got into the run: %s", encoded)
	}
}

func TestAForksRunIsNeverInOurLane(t *testing.T) {
	decode := func(head string) forge.Run {
		e, err := github.Receiver{}.Decode("workflow_run", []byte(`{"action":"completed","repository":{"id":1},
			"workflow_run":{"id":5,"run_number":1,"head_branch":"main","conclusion":"failure","head_repository":`+head+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		return *e.Run
	}
	if own := decode(`{"id":1,"full_name":"acme/shop"}`); own.HeadRepository != "" {
		t.Errorf("our own run comes from %q", own.HeadRepository)
	}
	for _, head := range []string{`{"id":2,"full_name":"bob/shop"}`, `null`} {
		if fork := decode(head); fork.HeadRepository == "" {
			t.Errorf("a run of the head repository %s counts as ours", head)
		}
	}
}

// FuzzReceivers: bytes of strangers never make a receiver fail in another way
// than by saying so, and what it takes fits PostgreSQL.
func FuzzReceivers(f *testing.F) {
	f.Add("workflow_run", "application/json", []byte(`{"action":"completed","workflow_run":{"id":9223372036854775808,"head_branch":"\u0000"}}`))
	f.Add("Pipeline Hook", "application/json", []byte(`{"object_attributes":{"id":1e99,"status":"failed","finished_at":"9999-99-99"},"builds":{"a":1}}`))
	f.Add("push", "application/x-www-form-urlencoded", []byte(`payload=%7B%22ref%22%3A%22%ff%22%7D&payload=%`))
	f.Add("push", "application/json", []byte(`{"ref":"refs/heads/a\u0000","commits":[{"id":1,"added":["\u0000",2],"modified":{"a":1}},null,7]}`))
	f.Add("pull_request_review", "application/json", []byte(`{"review":{"state":"APPROVED"},"pull_request":{"labels":[{"name":"\u0000"},1],"head":null}}`))
	f.Add("Merge Request Hook", "text/plain; x=\xff", []byte("[[[[\x00"))
	key := forge.Key{Secret: secret.NewText("s"), SigningToken: secret.NewText("whsec_AAAA")}
	f.Fuzz(func(t *testing.T, event, contentType string, body []byte) {
		h := http.Header{"X-Hub-Signature-256": {event}, "Webhook-Id": {event}, "Webhook-Timestamp": {contentType}, "Webhook-Signature": {contentType}}
		for _, r := range []forge.Receiver{github.Receiver{}, gitlab.Receiver{}} {
			r.Envelope(h, body)
			r.Peek(contentType, body)
			if r.Verify(h, body, key, time.Now()) {
				t.Error("a stranger's delivery verifies")
			}
			document, err := r.Payload(contentType, body)
			if err != nil {
				continue
			}
			e, err := r.Decode(event, document)
			if err != nil {
				t.Errorf("Payload took what Decode refuses: %v", err)
			}
			if e.Run != nil && strings.ContainsRune(e.Run.Branch+e.Run.Title+e.Run.Author+e.Repository.FullName, 0) {
				t.Errorf("NUL in %+v", e.Run)
			}
			if e.Change != nil && strings.ContainsRune(e.Change.Title+e.Change.Body+strings.Join(e.Change.Labels, ""), 0) {
				t.Errorf("NUL in %+v", e.Change)
			}
			if e.Push != nil && (len(e.Push.Files) > forge.MaxFiles || strings.ContainsRune(strings.Join(e.Push.Files, "")+e.Push.Branch, 0)) {
				t.Errorf("NUL in or too much of %+v", e.Push)
			}
		}
	})
}
