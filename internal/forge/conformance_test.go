package forge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/egress"
	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/forge/github"
	"github.com/devflowfix/devflowfix/internal/forge/gitlab"
	"github.com/devflowfix/devflowfix/internal/forge/payload"
	"github.com/devflowfix/devflowfix/internal/forgesim"
	"github.com/devflowfix/devflowfix/internal/secret"
	"github.com/devflowfix/devflowfix/internal/telemetry"
)

const token = "a token that must not be shown"

// stage is a forge with one repository, played by the simulator.
type stage struct {
	forge.Forge
	provider forge.Provider
	sim      *forgesim.Sim
	repo     forge.Repository
	ahead    atomic.Int64 // of the simulator's clock, in nanoseconds
	receiver string       // takes deliveries
	events   []string
	base     string // path of the repository in the API
}

func opener(t *testing.T, p forge.Provider, base string) forge.Opener {
	t.Helper()
	var o forge.Opener
	var err error
	if p == forge.GitHub {
		o, err = github.New(github.Config{APIURL: base + forgesim.GitHubAPIPath + "/", Network: egress.Policy{Private: true}})
	} else {
		o, err = gitlab.New(base+"/gitlab", egress.Policy{Private: true}, telemetry.Calls{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func setStage(t *testing.T, p forge.Provider) *stage {
	t.Helper()
	s := &stage{provider: p}
	sim, err := forgesim.Open(forgesim.Config{GitHubToken: token, GitLabToken: token,
		Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(sim.Handler())
	sim.SetPublicURL(api.URL)
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(func() {
		api.Close()
		_ = sim.Close()
		receiver.Close()
	})
	s.sim, s.receiver = sim, receiver.URL
	name := "acme/shop"
	s.events = []string{"push", "workflow_run"}
	if p == forge.GitLab {
		name = "acme/platform/shop"
		s.events = []string{"pipeline_events", "push_events"}
	}
	made, err := sim.AddRepository(string(p), name)
	if err != nil {
		t.Fatal(err)
	}
	s.base = "/repos/" + name
	if p == forge.GitLab {
		s.base = fmt.Sprintf("/projects/%d", made.ID)
	}
	if s.Forge, err = opener(t, p, api.URL).Open(t.Context(), forge.Access{Token: secret.NewText(token)}); err != nil {
		t.Fatal(err)
	}
	if s.repo, err = s.Repository(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return s
}

// overBoth runs a test for each forge.
func overBoth(t *testing.T, test func(*testing.T, *stage)) {
	for _, p := range []forge.Provider{forge.GitHub, forge.GitLab} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			s := setStage(t, p)
			test(t, s)
			for _, c := range s.sim.Complaints() {
				t.Errorf("%s complains: %s", c.Provider, c.About)
			}
		})
	}
}

func (s *stage) spec(n int) forge.HookSpec {
	spec := forge.HookSpec{URL: fmt.Sprintf("%s/%d", s.receiver, n), Events: s.events, Secret: secret.NewText("hook secret")}
	if s.provider == forge.GitLab {
		spec.SigningToken = secret.NewText("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	}
	return spec
}

// stored is the hook as the simulator has it, secrets included.
func (s *stage) stored(t *testing.T, id int64) forgesim.Hook {
	t.Helper()
	hooks := s.sim.Hooks()
	i := slices.IndexFunc(hooks, func(h forgesim.Hook) bool { return h.ID == id })
	if i < 0 {
		t.Fatalf("the forge has no hook %d", id)
	}
	return hooks[i]
}

func TestRepositoryAndLogin(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		if s.repo.ID == 0 || s.repo.DefaultBranch != "main" || s.repo.Provider != s.provider || s.repo.WebURL == "" {
			t.Errorf("repository = %+v", s.repo)
		}
		if _, err := s.Repository(t.Context(), "acme/nothing"); !fault.Is(err, fault.NotFound) {
			t.Errorf("unknown repository: %v", err)
		}
		if self, err := s.Self(t.Context()); err != nil || self.Login == "" || self.ID == 0 {
			t.Errorf("Self = %+v, %v", self, err)
		}
		if missing, err := s.MissingScopes(t.Context()); err != nil || len(missing) > 0 {
			t.Errorf("the token of the tests lacks %v, %v", missing, err)
		}
	})
}

func TestTheLifeOfAHook(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		made, err := s.CreateHook(t.Context(), s.repo, s.spec(1))
		if err != nil {
			t.Fatal(err)
		}
		if made.URL != s.spec(1).URL || !slices.Equal(made.Events, s.events) || !made.Active || !made.VerifyTLS || made.ContentType != "json" {
			t.Errorf("made = %+v", made)
		}
		if made.Signs != (s.provider == forge.GitLab) {
			t.Errorf("Signs = %v", made.Signs)
		}
		got, err := s.Hook(t.Context(), s.repo, made.ID)
		if diff := cmp.Diff(made, got); err != nil || diff != "" {
			t.Errorf("Hook: %v (-made +got):\n%s", err, diff)
		}
		moved := s.spec(2)
		moved.Events = s.events[:1]
		changed, err := s.UpdateHook(t.Context(), s.repo, made.ID, moved)
		if err != nil || changed.URL != moved.URL || !slices.Equal(changed.Events, moved.Events) {
			t.Errorf("UpdateHook = %+v, %v", changed, err)
		}
		if kept := s.stored(t, made.ID); kept.Secret != "hook secret" || kept.SigningToken != moved.SigningToken.Reveal() {
			t.Errorf("the change of the URL cost the secret: %+v", kept)
		}
		for range 2 { // a hook that is gone is as good as deleted
			if err := s.DeleteHook(t.Context(), s.repo, made.ID); err != nil {
				t.Errorf("DeleteHook: %v", err)
			}
		}
		if _, err := s.Hook(t.Context(), s.repo, made.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("Hook after its end: %v", err)
		}
	})
}

func TestDeletingAHookOfALostRepositoryIsNotDone(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		made, err := s.CreateHook(t.Context(), s.repo, s.spec(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.sim.EditRepository(string(s.provider), s.repo.FullName, func(r *forgesim.Repository) { r.Removed = true }); err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteHook(t.Context(), s.repo, made.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("DeleteHook = %v", err)
		}
	})
}

func TestListHooksReadsAllPages(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		const total = 45
		var want []int64
		for i := range total {
			spec := s.spec(i)
			if s.provider == forge.GitHub {
				spec.Events = []string{github.EventNames()[i%len(github.EventNames())]} // at most 20 hooks an event
			}
			h, err := s.CreateHook(t.Context(), s.repo, spec)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, h.ID)
		}
		all, err := s.ListHooks(t.Context(), s.repo)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, h := range all {
			got = append(got, h.ID)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%d hooks listed, want %d", len(got), total)
		}
	})
}

func TestAHookThatIsThereAlready(t *testing.T) {
	s := setStage(t, forge.GitHub)
	if _, err := s.CreateHook(t.Context(), s.repo, s.spec(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateHook(t.Context(), s.repo, s.spec(1)); !fault.Is(err, fault.Conflict) {
		t.Errorf("err = %v", err)
	}
}

func TestGitLabBefore19DoesNotSign(t *testing.T) {
	sim, err := forgesim.Open(forgesim.Config{GitLabToken: token, GitLabVersion: "18.11.0"})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	api := httptest.NewServer(sim.Handler())
	defer api.Close()
	if _, err := sim.AddRepository("gitlab", "acme/shop"); err != nil {
		t.Fatal(err)
	}
	f, err := opener(t, forge.GitLab, api.URL).Open(t.Context(), forge.Access{Token: secret.NewText(token)})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := f.Repository(t.Context(), "acme/shop")
	if err != nil {
		t.Fatal(err)
	}
	made, err := f.CreateHook(t.Context(), repo, forge.HookSpec{URL: "http://127.0.0.1:1/", Events: gitlab.DefaultEvents(),
		Secret: secret.NewText("s"), SigningToken: secret.NewText("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")})
	if err != nil || made.Signs {
		t.Errorf("CreateHook = %+v, %v", made, err)
	}
}

func TestPingBringsADelivery(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		made, err := s.CreateHook(t.Context(), s.repo, s.spec(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.sim.Pass(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName}); err != nil {
			t.Fatal(err)
		}
		if err := s.sim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := len(s.sim.Deliveries())
		if err := s.PingHook(t.Context(), s.repo, made.ID); err != nil {
			t.Fatal(err)
		}
		if err := s.sim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(s.sim.Deliveries()) != before+1 {
			t.Errorf("%d deliveries came", len(s.sim.Deliveries())-before)
		}
	})
}

// TestFaultsHaveTheirKinds also shows that no write is repeated.
func TestFaultsHaveTheirKinds(t *testing.T) {
	soon := fmt.Sprint(time.Now().Add(90 * time.Second).Unix())
	tests := []struct {
		name  string
		fault forgesim.Fault
		want  fault.Kind
		code  string
	}{
		{"a revoked token", forgesim.Fault{Status: 401, Body: `{"message":"Bad credentials"}`}, fault.Credentials, "token_rejected"},
		{"a missing permission", forgesim.Fault{Provider: "github", Status: 403, Headers: map[string]string{"X-Accepted-GitHub-Permissions": "repository_hooks=write"},
			Body: `{"message":"Resource not accessible by integration"}`}, fault.Credentials, "missing_permission"},
		{"a missing scope", forgesim.Fault{Provider: "github", Status: 404, Headers: map[string]string{"X-OAuth-Scopes": "gist", "X-Accepted-OAuth-Scopes": "admin:repo_hook, repo"},
			Body: `{"message":"Not Found"}`}, fault.Credentials, "missing_scope"},
		{"a missing scope", forgesim.Fault{Provider: "gitlab", Status: 403, Body: `{"error":"insufficient_scope"}`}, fault.Credentials, "missing_scope"},
		{"single sign-on", forgesim.Fault{Provider: "github", Status: 403, Headers: map[string]string{"X-GitHub-SSO": "required; url=https://github.com/orgs/acme/sso?authorization_request=1"},
			Body: `{"message":"Resource protected by organization SAML enforcement."}`}, fault.Credentials, "sso_required"},
		{"a restricted OAuth app", forgesim.Fault{Provider: "github", Status: 403,
			Body: `{"message":"Although you appear to have the correct authorization credentials, the organization has enabled OAuth App access restrictions."}`}, fault.Credentials, "oauth_app_restricted"},
		{"no admin", forgesim.Fault{Provider: "github", Status: 403, Body: `{"message":"Must have admin rights to Repository."}`}, fault.Credentials, "no_admin"},
		{"no admin", forgesim.Fault{Provider: "gitlab", Status: 403, Body: `{"message":"403 Forbidden"}`}, fault.Credentials, "no_admin"},
		{"an archived repository", forgesim.Fault{Provider: "github", Status: 403, Body: `{"message":"Repository was archived so is read-only."}`}, fault.Permanent, "archived"},
		{"not found although the repository is there", forgesim.Fault{Status: 404, Body: `{"message":"Not Found"}`}, fault.Credentials, "no_admin"},
		{"throttled for a time", forgesim.Fault{Status: 429, Headers: map[string]string{"Retry-After": "7"}, Body: `{}`}, fault.Throttled, "rate_limited"},
		{"throttled until a time", forgesim.Fault{Status: 429, Headers: map[string]string{
			"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": soon, "RateLimit-Reset": soon}, Body: `{}`}, fault.Throttled, "rate_limited"},
		{"throttled without a word", forgesim.Fault{Status: 429, Body: `{}`}, fault.Throttled, "rate_limited"},
		{"refused settings", forgesim.Fault{Status: 422, Body: `{"message":"Validation Failed"}`}, fault.Permanent, ""},
		{"gone", forgesim.Fault{Status: 410, Body: `{}`}, fault.Permanent, ""},
		{"unreachable", forgesim.Fault{Reset: true}, fault.Transient, "unreachable"},
		{"trouble", forgesim.Fault{Status: 500, Body: `oops`}, fault.Transient, ""},
		{"a gateway that gave up", forgesim.Fault{Status: 502, AfterApply: true, Body: `<html>`}, fault.Transient, ""},
		{"a cut connection", forgesim.Fault{Reset: true}, fault.Transient, ""},
		{"half an answer", forgesim.Fault{Truncate: true}, fault.Transient, ""},
		{"no JSON", forgesim.Fault{Status: 201, Body: `<html>hello</html>`}, fault.Transient, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, s *stage) {
				if tt.fault.Provider != "" && tt.fault.Provider != string(s.provider) {
					return // what only one of them says
				}
				f := tt.fault
				f.Method = http.MethodPost
				if err := s.sim.SetFault(f); err != nil {
					t.Fatal(err)
				}
				_, err := s.CreateHook(t.Context(), s.repo, s.spec(1))
				if !fault.Is(err, tt.want) || tt.code != "" && fault.Code(err) != tt.code {
					t.Errorf("err = %v (%s, %s), want %s %s", err, fault.KindOf(err), fault.Code(err), tt.want, tt.code)
				}
				if _, after := fault.Decide(err); tt.want == fault.Throttled && (after <= 0 || after > 2*time.Minute) {
					t.Errorf("wait %s", after)
				}
				if bytes.Contains([]byte(fmt.Sprint(err)), []byte(token)) || bytes.Contains([]byte(fmt.Sprint(err)), []byte("hook secret")) {
					t.Errorf("the error shows a secret: %v", err)
				}
				posts := 0
				for _, r := range s.sim.Requests() {
					if r.Method == http.MethodPost {
						posts++
					}
				}
				if posts != 1 {
					t.Errorf("the write was sent %d times", posts)
				}
			})
		})
	}
}

func TestJobsAndTheirLogs(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		var log bytes.Buffer
		for i := range 5000 {
			fmt.Fprintf(&log, "line %d\n", i)
		}
		log.WriteString("the end\n")
		played, err := s.sim.Fail(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName, Log: log.String()})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.sim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		jobs, err := s.Jobs(t.Context(), s.repo, forge.Run{ID: played.ID, Attempt: 1})
		if err != nil || len(jobs) != 3 {
			t.Fatalf("Jobs = %+v, %v", jobs, err)
		}
		failed := forge.FailedOf(jobs)
		if len(failed) != 1 {
			t.Fatalf("failed jobs = %+v", failed)
		}
		if j := failed[0]; j.Name == "" || j.URL == "" || j.Conclusion == "" || j.FinishedAt.IsZero() || (s.provider == forge.GitHub) != (len(j.FailedSteps) > 0) {
			t.Errorf("job = %+v", j)
		}
		whole, err := readLog(t, s, failed[0], 1<<20)
		if err != nil || !bytes.Contains(whole, []byte("line 0\n")) || !bytes.Contains(whole, []byte("the end")) {
			t.Errorf("Log = %d bytes, %v", len(whole), err)
		}
		if head, err := readLog(t, s, failed[0], 100); err != nil || len(head) != 100 || !bytes.HasPrefix(whole, head) {
			t.Errorf("the first 100 bytes = %q, %v", head, err)
		}
		passed := jobs[slices.IndexFunc(jobs, func(j forge.Job) bool { return j.Verdict == forge.Passed })]
		if text, err := readLog(t, s, passed, 1<<20); err != nil || len(text) == 0 {
			t.Errorf("log of a passed job: %d bytes, %v", len(text), err)
		}
		gone := failed[0]
		gone.ID = 1
		if _, err := readLog(t, s, gone, 1000); !fault.Is(err, fault.NotFound) {
			t.Errorf("a log that is not there: %v", err)
		}
		if err := s.sim.EraseLog(string(s.provider), failed[0].ID); err != nil {
			t.Fatal(err)
		}
		if _, err := readLog(t, s, failed[0], 1000); !fault.Is(err, fault.NotFound) {
			t.Errorf("a log that was erased: %v", err)
		}
	})
}

func readLog(t *testing.T, s *stage, j forge.Job, limit int64) ([]byte, error) {
	t.Helper()
	log, err := s.Log(t.Context(), s.repo, j, limit)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	return io.ReadAll(log)
}

func TestTheLogRemembersWhatWasSent(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		made, err := s.CreateHook(t.Context(), s.repo, s.spec(1))
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			if _, err := s.sim.Pass(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.sim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		sent := map[string]bool{}
		for _, d := range s.sim.Deliveries() {
			sent[d.GUID] = true
		}
		cursor, pages := "", 0
		var first forge.LoggedDelivery
		for {
			page, err := s.Deliveries(t.Context(), s.repo, made.ID, cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page.List {
				if !sent[d.ID] || d.Event == "" || d.LogID == 0 {
					t.Errorf("logged %+v was never sent", d)
				}
				if delete(sent, d.ID); first.ID == "" {
					first = d
				}
			}
			if pages++; page.Next == "" {
				break
			}
			cursor = page.Next
		}
		if len(sent) > 0 || pages < 2 {
			t.Errorf("%d deliveries are missing from %d pages", len(sent), pages)
		}
		whole, err := s.Delivery(t.Context(), s.repo, made.ID, first)
		if err != nil || !payload.IsObject(whole.Payload) {
			t.Errorf("payload %.40s, %v", whole.Payload, err)
		}
		before := len(s.sim.Deliveries())
		if err := s.Redeliver(t.Context(), s.repo, made.ID, first); err != nil {
			t.Fatal(err)
		}
		if err := s.sim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all := s.sim.Deliveries(); len(all) != before+1 {
			t.Errorf("%d deliveries after the redelivery of one, %d before", len(all), before)
		}
	})
}

func TestRecentRunsAreAsTheirDeliveriesTold(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		if _, err := s.CreateHook(t.Context(), s.repo, s.spec(1)); err != nil {
			t.Fatal(err)
		}
		for _, play := range []func(forgesim.RunSpec) (forgesim.Run, error){s.sim.Pass, s.sim.Fail} {
			if _, err := play(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName, Branch: "main"}); err != nil {
				t.Fatal(err)
			}
			if err := s.sim.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		told := map[int64]forge.Run{}
		for _, d := range s.sim.Deliveries() {
			document, err := json.Marshal(d.Payload)
			if err != nil {
				t.Fatal(err)
			}
			e, err := receivers[s.provider].Decode(d.Event, document)
			if err != nil {
				t.Fatal(err)
			}
			if e.Run != nil && e.Run.Verdict != forge.Unsettled {
				told[e.Run.ID] = *e.Run
			}
		}
		page, err := s.RecentRuns(t.Context(), s.repo, time.Now().Add(-time.Hour))
		if err != nil || len(page.List) != 2 || page.More || time.Since(page.To) > time.Hour {
			t.Fatalf("RecentRuns = %+v, %v", page, err)
		}
		for _, r := range page.List {
			want := told[r.ID]
			// What the list of an API does not tell.
			r.Jobs, want.Jobs, want.Title, r.Title = nil, nil, "", ""
			if s.provider == forge.GitLab {
				r.CommitTitle, want.CommitTitle, r.StartedAt, want.StartedAt = "", "", time.Time{}, time.Time{}
			}
			if diff := cmp.Diff(want, r); diff != "" {
				t.Errorf("run %d (-delivered +listed):\n%s", r.ID, diff)
			}
		}
	})
}

// TestRecentRunsAreAll reads many runs, a minute apart.
func TestRecentRunsAreAll(t *testing.T) {
	overBoth(t, func(t *testing.T, s *stage) {
		total := map[forge.Provider]int{forge.GitHub: 1205, forge.GitLab: 205}[s.provider]
		began := time.Now()
		for n := range total {
			s.ahead.Store(int64(time.Duration(n) * time.Minute))
			if _, err := s.sim.Play(forgesim.RunSpec{Provider: string(s.provider), Repository: s.repo.FullName, Conclusion: "success", Deliver: "none"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.sim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := map[int64]bool{}
		since := began.Add(-time.Minute)
		for more := true; more; {
			page, err := s.RecentRuns(t.Context(), s.repo, since)
			if err != nil || page.More && !page.To.After(since) {
				t.Fatalf("RecentRuns since %s is to %s: %v", since, page.To, err)
			}
			for _, r := range page.List {
				found[r.ID] = true
			}
			since, more = page.To, page.More
		}
		if len(found) != total {
			t.Errorf("found %d runs, want %d", len(found), total)
		}
		if last := began.Add(time.Duration(total-1) * time.Minute); since.Sub(last).Abs() > time.Minute {
			t.Errorf("found all until %s, want %s", since, last)
		}
		page, err := s.RecentRuns(t.Context(), s.repo, since)
		if err != nil || len(page.List) != 1 || page.More {
			t.Errorf("since the last there are %d, %v", len(page.List), err)
		}
	})
}

var receivers = map[forge.Provider]forge.Receiver{forge.GitHub: github.Receiver{}, forge.GitLab: gitlab.Receiver{}}
