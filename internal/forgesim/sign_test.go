package forgesim

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"
)

// The example of GitHub's documentation:
// https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
func TestGitHubSignatureIsTheDocumentedOne(t *testing.T) {
	t.Parallel()
	got := githubSignature256("It's a Secret to Everybody", []byte("Hello, World!"))
	if want := "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"; got != want {
		t.Errorf("signature is %s, want %s", got, want)
	}
}

// The example of the Standard Webhooks libraries' own tests.
func TestStandardSignatureIsTheDocumentedOne(t *testing.T) {
	t.Parallel()
	got := standardSignature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
		time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signature is %s, want %s", got, want)
	}
}

func TestGitHubDeliveriesAreSigned(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	create := func(config object) int64 {
		return id(t, b.github("POST", "/hooks", object{"config": config, "events": []string{"workflow_run"}}).want(http.StatusCreated).object())
	}
	signed := create(object{"url": b.receiver.URL + "?signed", "content_type": "json", "secret": "s3cret"})
	form := create(object{"url": b.receiver.URL + "?form", "content_type": "form", "secret": "s3cret"})
	plain := create(object{"url": b.receiver.URL + "?plain", "content_type": "json"})
	b.settle()
	b.receiver.clear()
	run, err := b.Fail(RunSpec{Provider: GitHub, Repository: "acme/parcel", Deliver: "completed_only"})
	if err != nil {
		t.Fatal(err)
	}
	b.settle()
	guids := map[string]bool{}
	for _, d := range b.receiver.all() {
		guids[d.header.Get("X-GitHub-Delivery")] = true
		hook, _ := strconv.ParseInt(d.header.Get("X-GitHub-Hook-ID"), 10, 64)
		signature := d.header.Get("X-Hub-Signature-256")
		switch hook {
		case plain:
			if signature != "" || d.header.Get("X-Hub-Signature") != "" {
				t.Errorf("a hook without a secret signs: %v", d.header)
			}
		case signed, form:
			if signature != githubSignature256("s3cret", d.body) || d.header.Get("X-Hub-Signature") != githubSignature1("s3cret", d.body) {
				t.Errorf("hook %d signs %s, which is not over its body", hook, signature)
			}
		}
		if hook == form {
			d.body = fromForm(t, d)
		}
		if got := d.object(t)["workflow_run"].(map[string]any); id(t, got) != run.ID {
			t.Errorf("hook %d tells of run %v, want %d", hook, got["id"], run.ID)
		}
		for _, want := range [][2]string{
			{"X-GitHub-Event", "workflow_run"}, {"X-GitHub-Hook-Installation-Target-Type", "repository"},
			{"X-GitHub-Hook-Installation-Target-ID", strconv.FormatInt(run.RepositoryID, 10)},
		} {
			if got := d.header.Get(want[0]); got != want[1] {
				t.Errorf("%s is %q, want %q", want[0], got, want[1])
			}
		}
	}
	if len(b.receiver.all()) != 3 || len(guids) != 1 {
		t.Errorf("%d deliveries with GUIDs %v, want 3 that share one", len(b.receiver.all()), guids)
	}
}

func fromForm(t *testing.T, d arrived) []byte {
	t.Helper()
	if got := d.header.Get("Content-Type"); got != "application/x-www-form-urlencoded" {
		t.Errorf("a form hook sends %s", got)
	}
	form, err := url.ParseQuery(string(d.body))
	if err != nil || len(form) != 1 {
		t.Fatalf("the form is %v: %v", form, err)
	}
	return []byte(form.Get("payload"))
}

func TestGitLabDeliveriesAreSigned(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	b := newBench(t, func(c *Config) { c.Now = func() time.Time { return at } })
	token := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	b.gitlabHook(object{"signing_token": token})
	b.gitlabHook(nil)
	if _, err := b.Fail(RunSpec{Provider: GitLab, Repository: "acme/parcel", Deliver: "completed_only"}); err != nil {
		t.Fatal(err)
	}
	b.settle()
	all := b.receiver.all()
	if len(all) != 2 {
		t.Fatalf("%d deliveries, want 2", len(all))
	}
	if all[0].header.Get("webhook-id") == "" {
		all[0], all[1] = all[1], all[0]
	}
	h := all[0].header
	if h.Get("webhook-id") != h.Get("Idempotency-Key") || h.Get("webhook-timestamp") != strconv.FormatInt(at.Unix(), 10) ||
		h.Get("webhook-signature") != standardSignature(token, h.Get("Idempotency-Key"), at, all[0].body) {
		t.Errorf("the signature does not hold: %v", h)
	}
	if all[1].header.Get("webhook-signature") != "" {
		t.Errorf("a hook without a signing token signs: %v", all[1].header)
	}
	for _, d := range all {
		for key, want := range map[string]string{
			"X-Gitlab-Event": "Pipeline Hook", "X-Gitlab-Token": "t0ken", "User-Agent": "GitLab/19.1.0", "X-Gitlab-Instance": b.URL + "/gitlab",
		} {
			if got := d.header.Get(key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
	}
	a, z := all[0].header, all[1].header
	if a.Get("X-Gitlab-Event-UUID") != z.Get("X-Gitlab-Event-UUID") || a.Get("Idempotency-Key") == z.Get("Idempotency-Key") ||
		a.Get("X-Gitlab-Webhook-UUID") == z.Get("X-Gitlab-Webhook-UUID") {
		t.Errorf("the event's UUID is shared by all hooks, the others are not: %v and %v", a, z)
	}
}
