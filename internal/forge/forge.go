// Package forge is the vocabulary that the rest of DevFlowFix shares with
// GitHub and GitLab: repositories, hooks, deliveries, events, runs and jobs,
// and the facets through which a forge is called. The two forges themselves
// are in the packages below it; nothing outside them knows a forge's library
// or the layout of its payloads.
package forge

import (
	"context"
	"io"
	"time"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// Provider names a kind of forge.
type Provider string

// The providers.
const (
	GitHub Provider = "github"
	GitLab Provider = "gitlab"
)

// Validate refuses what is not a provider.
func (p Provider) Validate() error {
	if p == GitHub || p == GitLab {
		return nil
	}
	return &fault.Error{Kind: fault.Invalid, Field: "provider", Sentence: "The provider is github or gitlab."}
}

// Title is the provider's name as people write it.
func (p Provider) Title() string {
	if p == GitLab {
		return "GitLab"
	}
	return "GitHub"
}

// Repository is a GitHub repository or a GitLab project. Its identity is
// (provider, ID): names change by rename and transfer.
type Repository struct {
	Provider      Provider
	ID            int64
	FullName      string // owner/name; GitLab nests: group/sub/project
	DefaultBranch string
	WebURL        string
	Private       bool
	Archived      bool
}

// Hook is a webhook as the forge shows it. Forges never show a secret.
type Hook struct {
	ID          int64
	URL         string
	Events      []string // in the forge's own names, sorted
	ContentType string   // "json" or "form"; GitLab always sends JSON
	Active      bool     // false also when the forge has disabled it
	Disabled    Disabled // GitLab: for failing too often
	VerifyTLS   bool
	Signs       bool // GitLab 19.0+: has a signing token, so its deliveries must carry a signature
	CreatedAt   time.Time
}

// Disabled says that a forge has switched a hook off by itself
// (docs.gitlab.com, "Webhooks", auto-disabled webhooks).
type Disabled string

// How long a hook is switched off; empty when it is not.
const (
	DisabledForNow  Disabled = "temporarily_disabled"
	DisabledForGood Disabled = "disabled"
)

// HookSpec is what we want a hook to be.
type HookSpec struct {
	URL    string
	Events []string // in the forge's own names
	// Secret authenticates deliveries: GitHub's HMAC key, GitLab's token.
	Secret secret.Text
	// SigningToken is GitLab's `whsec_…` HMAC key (19.0+; older instances
	// ignore it, Hook.Signs tells). GitHub has none.
	SigningToken secret.Text
}

// Run is one attempt of a GitHub workflow run, or a GitLab pipeline between
// two of its final states.
type Run struct {
	ID int64
	// Number and Attempt order the runs of a lane by the forge's own count,
	// never by arrival. GitHub: run_number and run_attempt. GitLab keeps a
	// pipeline's id over retries and counts no attempts: the pipeline id, and
	// the finish time in milliseconds since 1970.
	Number  int64
	Attempt int64
	// Workflow is the name that people know; WorkflowKey identifies it when
	// the name changes. GitLab has one configuration per project: the key is
	// the pipeline's kind (branch, merge request, schedule, child).
	Workflow    string
	WorkflowKey string
	// WorkflowFile is the path of the workflow's file, where it is one of the
	// repository; GitLab does not tell which.
	WorkflowFile string
	Title        string
	Trigger      string // GitHub's event, GitLab's source
	Verdict      Verdict
	Conclusion   string // the forge's own word
	Branch       string
	SHA          string
	CommitTitle  string
	Author       string // login of who caused the run, else the commit author's name
	URL          string
	// HeadRepository is set when the code comes from another repository (a
	// fork): untrusted, and a lane of its own even if the branch names agree.
	HeadRepository string
	// ForChange is set when the run was started for a change, not for a branch:
	// GitHub's pull_request and pull_request_target, GitLab's merge request
	// pipelines. A merge queue tries what becomes the branch, so it is none.
	ForChange bool
	// Changes are the numbers of the changes that the run is about, as far as
	// the forge tells: GitHub tells of none from forks.
	Changes    []int64
	Base       string // the branch that the changes go to; empty without any
	CreatedAt  time.Time
	StartedAt  time.Time
	FinishedAt time.Time
	// Jobs are the jobs that the payload itself tells of, with their verdicts;
	// nil when it tells of none and the forge has to be asked.
	Jobs []Job
}

// FailedJobs are those of the run's jobs that failed it.
func (r Run) FailedJobs() []Job { return FailedOf(r.Jobs) }

// Verdict is what a run says about its lane.
type Verdict string

// The verdicts.
const (
	// Failed: the run ended red (failure, timed_out, startup_failure, failed).
	Failed Verdict = "failed"
	// Passed: the run ended green (success).
	Passed Verdict = "passed"
	// Unsettled: not ended, or ended without saying red or green (cancelled,
	// skipped, neutral, action_required, stale, unknown words).
	Unsettled Verdict = "unsettled"
)

// Job is a job of a run.
type Job struct {
	ID         int64
	Name       string // may be empty
	Stage      string // GitLab only
	Conclusion string // the forge's own word; GitLab: failure_reason when it gives one
	// Verdict is what the job says about its run. One that was skipped,
	// cancelled or waits for somebody says nothing, and neither does the
	// failure of one that is allowed to fail.
	Verdict      Verdict
	AllowFailure bool // GitLab only; GitHub does not tell
	URL          string
	FailedSteps  []string // GitHub only; GitLab has no steps
	StartedAt    time.Time
	FinishedAt   time.Time
}

// FailedOf are the jobs that fail their run.
func FailedOf(jobs []Job) []Job {
	var failed []Job
	for _, j := range jobs {
		if j.Verdict == Failed {
			failed = append(failed, j)
		}
	}
	return failed
}

// Change is a pull request or merge request. What a payload or a list does not
// tell of it is empty.
type Change struct {
	ID           int64
	Number       int64
	Title        string
	Body         string   // cut at 64 KiB
	Labels       []string // names
	State        string   // open, closed or merged
	Draft        bool
	SourceBranch string
	TargetBranch string
	HeadSHA      string
	BaseSHA      string // GitHub: the head of the target branch; GitLab: where the source branch left it
	// HeadRepository is set when the change comes from a fork, as in Run.
	HeadRepository string
	Author         string // login; empty when GitLab tells only of somebody else who acted
	URL            string
	// Approved is set when what was read tells of an approval: the event of one,
	// or the Changes facet's Change. Lists and other events do not tell.
	Approved bool
	Merged   bool
	// MergeSHA is the commit by which a merged change came to its target branch.
	MergeSHA  string
	UpdatedAt time.Time
	ClosedAt  time.Time // zero while it is open
	MergedAt  time.Time // zero unless it was merged
}

// Push is a change of one branch or tag.
type Push struct {
	Ref    string // with refs/heads/ or refs/tags/
	Branch string // empty for tags
	Before string // all zeros when the ref is new
	After  string // all zeros when the ref was deleted
	Author string
	// Created, Deleted and Forced say what became of the ref. GitLab does not
	// tell whether a push was forced.
	Created, Deleted, Forced bool
	// Commits are those that the payload names, oldest first; GitHub names at
	// most 2,048 of a push and GitLab 20.
	Commits []Commit
	// Files are the paths that these commits add, change or remove, sorted; at
	// most MaxFiles.
	Files []string
}

// EventKind sorts events.
type EventKind string

// The kinds of event. An event that DevFlowFix has no use for is Other.
const (
	RunEvent          EventKind = "run"
	ChangeEvent       EventKind = "change"
	PushEvent         EventKind = "push"
	RepositoryEvent   EventKind = "repository"
	InstallationEvent EventKind = "installation"
	PingEvent         EventKind = "ping"
	OtherEvent        EventKind = "other"
)

// Event is a delivery in forge-neutral form. Exactly the part that its kind
// names is set; Repository is zero when the payload has none.
type Event struct {
	Kind         EventKind
	Name         string // the forge's own name: workflow_run, Pipeline Hook, …
	Action       string // the forge's own action or status; may be empty
	Repository   Repository
	Installation int64 // GitHub App installation; zero for hooks
	// SenderID is the account that caused an event about an installation: who
	// installed it, or whose authorisation was revoked.
	SenderID int64
	Run      *Run
	Change   *Change
	Push     *Push
}

// Access is what a call to a forge is made with. An installation wins over a
// token.
type Access struct {
	Token        secret.Text
	Installation int64
}

// Opener opens a forge with somebody's access.
type Opener interface {
	// Open returns the forge as the access may use it. It asks nothing of the
	// forge yet.
	Open(context.Context, Access) (Forge, error)
}

// Forge is the sum of the facets. Callers name the facet that they need.
//
// All methods fail with the kinds of package fault: NotFound (not there, or
// not visible: the forges do not tell these apart), Credentials, Throttled
// (with After), Transient, Permanent. No method repeats a write by itself: an
// error of kind Transient after a write leaves its outcome unknown.
type Forge interface {
	Identity
	Repositories
	Hooks
	Runs
	DeliveryLog
	RunLog
	Code
	Reruns
	Comments
	Checks
	Writers
	Proposals
}

// Identity tells whose access it is.
type Identity interface {
	// Self is the account that the access belongs to.
	Self(ctx context.Context) (Person, error)
	// MissingScopes names what the token's scopes lack for the work of
	// DevFlowFix, in the forge's words. It is empty also when the forge does
	// not tell the scopes of such a token.
	MissingScopes(ctx context.Context) ([]string, error)
}

// Repositories finds repositories.
type Repositories interface {
	// Repository finds a repository by its full name, following renames.
	Repository(ctx context.Context, fullName string) (Repository, error)
	// RepositoryByID finds a repository by its id, whatever its name is now.
	RepositoryByID(ctx context.Context, id int64) (Repository, error)
	// Accessible is a page of the repositories that the access may see as a
	// member, most recently active first.
	Accessible(ctx context.Context, q RepositoryQuery) (RepositoryPage, error)
}

// Permission is what an account may do in a repository.
type Permission string

// The permissions. Each holds those before it. Webhooks need the last:
// GitHub's admin, GitLab's Maintainer.
const (
	ReadPermission  Permission = "read"
	WritePermission Permission = "write"
	AdminPermission Permission = "admin"
)

// RepositoryQuery asks for a page of repositories.
type RepositoryQuery struct {
	Search     string // a part of the name; empty for all
	Visibility string // public or private; empty for both
	Page       int    // from 1
	Size       int    // at most 100
}

// RepositoryPage is a page of repositories.
type RepositoryPage struct {
	List []Accessible
	Next int // the next page; zero on the last
}

// Accessible is a repository with what the access may do in it.
type Accessible struct {
	Repository
	Permission Permission
}

// Codes of failures that have consequences beyond the failed call.
const (
	Archived       = "archived"        // the repository is read-only
	RepositoryGone = "repository_gone" // deleted, or out of our sight: the forges tell neither from the other
	NoAdmin        = "no_admin"        // the repository can be seen, but its hooks cannot be managed
)

// Hooks manages the webhooks of a repository. Where the repository itself is
// gone, its methods are NotFound with the code RepositoryGone.
type Hooks interface {
	// ListHooks returns all hooks of all pages.
	ListHooks(ctx context.Context, repo Repository) ([]Hook, error)
	// Hook returns one hook; NotFound when it was deleted.
	Hook(ctx context.Context, repo Repository, id int64) (Hook, error)
	// CreateHook makes a hook; Conflict when the forge has one like it.
	CreateHook(ctx context.Context, repo Repository, spec HookSpec) (Hook, error)
	// UpdateHook changes a hook in place to the whole of spec, secret included.
	UpdateHook(ctx context.Context, repo Repository, id int64, spec HookSpec) (Hook, error)
	// DeleteHook removes a hook. A hook that is not there is no error while
	// the repository itself can be read; else it is NotFound (access lost).
	DeleteHook(ctx context.Context, repo Repository, id int64) error
	// PingHook asks the forge to send a delivery to the hook now.
	PingHook(ctx context.Context, repo Repository, id int64) error
}

// Runs reads runs and their jobs.
type Runs interface {
	// Jobs lists all jobs of an attempt, whatever their verdicts; GitLab's with
	// the bridges to child pipelines, which have no logs. Empty when the run
	// ended before it had jobs.
	Jobs(ctx context.Context, repo Repository, run Run) ([]Job, error)
	// Log returns a job's log as a stream of its first limit bytes, which the
	// caller closes. NotFound when the log has expired, was erased or never was.
	Log(ctx context.Context, repo Repository, job Job, limit int64) (io.ReadCloser, error)
}
