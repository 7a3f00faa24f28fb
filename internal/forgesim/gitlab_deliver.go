package forgesim

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// gitlabShipment is an event's delivery to a hook. The Idempotency-Key is the
// hook's own and stays when the delivery is sent again; X-Gitlab-Event-UUID is
// shared by all hooks; X-Gitlab-Webhook-UUID, despite its name, is new each
// time (app/services/web_hook_service.rb).
func (s *Sim) gitlabShipment(h *Hook, ev event) *shipment {
	if !ev.redelivery {
		ev.guid = uuid.NewString()
	}
	sh := &shipment{Delivery: s.newDelivery(ev, h.URL), insecure: h.InsecureTLS, body: ev.payload}
	sh.HookID = h.ID
	sh.Headers = map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitLab/" + s.cfg.GitLabVersion, "X-Gitlab-Event": ev.name,
		"X-Gitlab-Instance": s.publicURL + "/gitlab", "X-Gitlab-Event-UUID": ev.chain,
	}
	for _, pair := range h.CustomHeaders {
		sh.Headers[pair.Key] = pair.Value
	}
	if s.atLeast(16, 2) {
		sh.Headers["X-Gitlab-Webhook-UUID"] = uuid.NewString()
	}
	if s.atLeast(17, 4) {
		sh.Headers["Idempotency-Key"] = ev.guid
	}
	if h.Secret != "" {
		sh.Headers["X-Gitlab-Token"] = strings.NewReplacer("\n", "", "\r", "").Replace(h.Secret)
	}
	if h.SigningToken != "" {
		now := s.now()
		sh.Headers["webhook-id"] = ev.guid
		sh.Headers["webhook-timestamp"] = strconv.FormatInt(now.Unix(), 10)
		sh.Headers["webhook-signature"] = standardSignature(h.SigningToken, ev.guid, now, sh.body)
	}
	return sh
}

// gitlabTestHook sends a sample and answers with what came of it, also when
// the hook is switched off: a success switches it on again.
func (s *Sim) gitlabTestHook(c *call, h *Hook) answer {
	trigger := c.r.PathValue("trigger")
	if !slices.Contains(gitlabHookEvents, trigger) {
		return gitlabRefusal(http.StatusBadRequest, "trigger does not have a valid value")
	}
	if s.tooManyTests(c.repo) {
		return gitlabMessage(http.StatusTooManyRequests, object{"error": "This endpoint has been requested too many times. Try again later."})
	}
	ev, missing := s.sample(c.repo, trigger)
	if missing != "" {
		return gitlabMessage(http.StatusUnprocessableEntity, missing)
	}
	sh := s.gitlabShipment(h, ev)
	return answer{later: func() answer {
		if d := s.sendAndWait([]*shipment{sh})[0]; !d.OK() {
			return gitlabMessage(http.StatusUnprocessableEntity, d.ResponseBody)
		}
		return gitlabMessage(http.StatusCreated, "201 Created")
	}}
}

// sample is the data for testing a hook, or the reason why there are none
// (app/services/concerns/integrations/project_test_data.rb).
func (s *Sim) sample(r *Repository, trigger string) (event, string) {
	switch trigger {
	case "push_events":
		return s.gitlabPush(r, lastPush(r)), ""
	case "tag_push_events":
		return s.gitlabTagPush(r), ""
	case "pipeline_events":
		for _, run := range slices.Backward(s.state.Runs) {
			if run.Provider == GitLab && run.RepositoryID == r.ID {
				return s.gitlabPipelineEvent(r, run, *run.latest()), ""
			}
		}
		return event{}, "Ensure the project has CI pipelines."
	case "job_events":
		return event{}, "Ensure the project has CI jobs."
	case "merge_requests_events":
		return event{}, "Ensure the project has merge requests."
	case "issues_events", "confidential_issues_events":
		return event{}, "Ensure the project has issues."
	case "note_events", "confidential_note_events", "emoji_events":
		return event{}, "Ensure the project has notes."
	}
	return event{}, "Testing not available for this hook"
}

// tooManyTests counts a test or resend against the limit of its project.
func (s *Sim) tooManyTests(r *Repository) bool {
	if s.cfg.HookTestsPerMinute == 0 {
		return false
	}
	recent := slices.DeleteFunc(s.hookTests[r.ID], func(t time.Time) bool { return s.now().Sub(t) > time.Minute })
	s.hookTests[r.ID] = append(recent, s.now())
	return len(recent) >= s.cfg.HookTestsPerMinute
}

// gitlabListEvents is the hook's log.
func (s *Sim) gitlabListEvents(c *call, h *Hook) answer {
	docs := []object{}
	for _, d := range s.newestFirst(GitLab, h.ID) {
		if gitlabHasStatus(d, c.r.URL.Query().Get("status")) {
			docs = append(docs, gitlabEvent(d))
		}
	}
	return s.gitlabPage(c, docs, c.page(20, 20))
}

func gitlabHasStatus(d *Delivery, status string) bool {
	switch status {
	case "":
		return true
	case "successful":
		return d.OK()
	case "client_failure":
		return d.StatusCode >= 400 && d.StatusCode < 500
	case "server_failure":
		return d.StatusCode >= 500
	}
	return slices.Contains(strings.Split(status, ","), strconv.Itoa(d.StatusCode))
}

// gitlabEvent is an entry of a hook's log. The status is a text, because it
// may be "internal error".
func gitlabEvent(d *Delivery) object {
	headers := maps.Clone(d.Headers)
	if headers["X-Gitlab-Token"] != "" {
		headers["X-Gitlab-Token"] = "[REDACTED]"
	}
	status := "internal error"
	if d.StatusCode != 0 {
		status = strconv.Itoa(d.StatusCode)
	}
	answered := d.ResponseHeaders
	if answered == nil {
		answered = map[string]string{}
	}
	return object{
		"id": d.ID, "url": d.URL, "trigger": triggerWord(d.Event), "request_headers": headers, "request_data": d.Payload,
		"response_headers": answered, "response_body": d.ResponseBody, "execution_duration": d.Duration,
		"response_status": status,
	}
}

// gitlabResend sends a logged delivery again, with the same Idempotency-Key.
func (s *Sim) gitlabResend(c *call, h *Hook) answer {
	d := s.deliveryOf(c, GitLab, h.ID)
	if d == nil {
		return gitlabNotFound()
	}
	if s.tooManyTests(c.repo) {
		return gitlabMessage(http.StatusTooManyRequests, object{"error": "This endpoint has been requested too many times. Try again later."})
	}
	sh, err := s.repeat(d)
	if err != nil {
		return gitlabNotFound()
	}
	return answer{later: func() answer {
		again := s.sendAndWait([]*shipment{sh})[0]
		if again.StatusCode == 0 {
			return gitlabMessage(http.StatusUnprocessableEntity, again.ResponseBody)
		}
		return answer{status: http.StatusCreated, body: object{"response_status": again.StatusCode}}
	}}
}
