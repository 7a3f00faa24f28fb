package fix

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// MostFailed is how many merged fixes of an incident may have left it red
	// before no more are proposed.
	MostFailed = 2
	// Cooldown is how long nothing is tried for an incident after a try.
	Cooldown = time.Hour
	// OldestCulprit is how old a commit may be that is reverted: what stands on
	// older ones is not known to be independent of them.
	OldestCulprit = 72 * time.Hour
	// StopFile is the kill switch: while a repository's default branch has this
	// file, nothing is proposed there. Only who may write to that branch can put
	// it there.
	StopFile = ".devflowfix/stop"
)

// Culprit is the commit that is known to have broken something.
type Culprit struct {
	SHA     string    `json:"sha"`
	State   string    `json:"state"` // range, suspect, probable or confirmed
	Author  string    `json:"author"`
	At      time.Time `json:"at"`
	Message string    `json:"message"`
}

// Confirmed is the state of a culprit for which a run failed again, and whose
// parent's passed.
const Confirmed = "confirmed"

// Facts is what is looked at before a fix is proposed.
type Facts struct {
	Kind    Kind
	Culprit Culprit // of a revert
	Now     time.Time

	AutoPR   bool // the connection allows it
	Main     bool // the incident is on the default branch
	Change   bool // it is of a proposed change, maybe a fork's
	Flaky    bool
	Infra    bool // the infrastructure failed, not the code
	Failed   int  // merged fixes that left it red
	Declined bool // people have closed a fix of ours
	OpenFix  bool // of this failure in the repository, by whomever
	Reverted bool // the culprit was reverted, or tried to be, before
	Today    int  // fixes that were tried in the repository within 24 hours
	Cap      int  // how many may be
	LastTry  time.Time
	Stopped  bool // the kill switch is thrown
}

// Gate names what kept a fix from being proposed; empty when nothing did.
type Gate string

// The gates, in the order in which they are looked at.
const (
	Pass            Gate = ""
	NotAllowed      Gate = "auto_pr_disabled"
	Foreign         Gate = "proposed_change"
	NotMain         Gate = "not_default_branch"
	Unconfirmed     Gate = "culprit_not_confirmed"
	OptedOut        Gate = "culprit_opted_out"
	ByBot           Gate = "culprit_by_bot"
	TooOld          Gate = "culprit_too_old"
	RevertedBefore  Gate = "culprit_reverted_before"
	IsFlaky         Gate = "flaky"
	IsInfra         Gate = "infrastructure"
	FailedBefore    Gate = "fixes_failed"
	DeclinedByOther Gate = "declined"
	AlreadyOpen     Gate = "fix_open"
	CapReached      Gate = "daily_cap"
	Cooling         Gate = "cooldown"
	KillSwitch      Gate = "kill_switch"
)

// reasons say for people why nothing was done.
var reasons = map[Gate]string{
	NotAllowed:      "the connection does not allow it (auto_pr_enabled)",
	Foreign:         "it failed in a proposed change, whose code may be a stranger's",
	NotMain:         "it is not on the default branch",
	Unconfirmed:     "the culprit is not confirmed: only a run that failed on it again, and passed on its parent, does that",
	OptedOut:        "the message of the culprit says DevFlowFix: no-revert",
	ByBot:           "a program made the culprit, and would make it again",
	TooOld:          "the culprit is older than three days, and others build on it",
	RevertedBefore:  "a revert of the culprit was proposed before",
	IsFlaky:         "the failure comes and goes",
	IsInfra:         "the infrastructure failed, not the code",
	FailedBefore:    "two fixes were merged and it is red still: it needs people",
	DeclinedByOther: "a fix that DevFlowFix proposed for it was closed",
	AlreadyOpen:     "a fix of it is open or on its way",
	CapReached:      "as many fixes as a day may have were tried in the repository",
	Cooling:         "the last try is less than an hour ago",
	KillSwitch:      "the default branch has the file " + StopFile + ", which stops DevFlowFix",
}

var what = map[Kind]string{Revert: "No revert was proposed", Fixer: "The fixer was not asked"}

// Reason is the sentence that tells of a gate.
func (g Gate) Reason(k Kind) string { return what[k] + " because " + reasons[g] + "." }

// Decide returns the first gate that is closed; Pass when all are open.
func Decide(f Facts) Gate {
	switch {
	case !f.AutoPR:
		return NotAllowed
	case f.Change:
		return Foreign
	case !f.Main:
		return NotMain
	}
	own := f.fixer
	if f.Kind == Revert {
		own = f.revert
	}
	if g := own(); g != Pass {
		return g
	}
	switch {
	case f.Failed >= MostFailed:
		return FailedBefore
	case f.Declined:
		return DeclinedByOther
	case f.OpenFix:
		return AlreadyOpen
	case f.Today >= f.Cap:
		return CapReached
	case !f.LastTry.IsZero() && f.Now.Sub(f.LastTry) < Cooldown:
		return Cooling
	case f.Stopped:
		return KillSwitch
	}
	return Pass
}

func (f Facts) revert() Gate {
	switch {
	case f.Culprit.State != Confirmed:
		return Unconfirmed
	case optOut.MatchString(f.Culprit.Message):
		return OptedOut
	case IsBot(f.Culprit.Author):
		return ByBot
	case f.Now.Sub(f.Culprit.At) > OldestCulprit:
		return TooOld
	case f.Reverted:
		return RevertedBefore
	}
	return Pass
}

func (f Facts) fixer() Gate {
	switch {
	case f.Flaky:
		return IsFlaky
	case f.Infra:
		return IsInfra
	}
	return Pass
}

var optOut = regexp.MustCompile(`(?mi)^[ \t]*DevFlowFix:[ \t]*no-revert[ \t]*$`)

// bots are accounts of programs that do not show it by [bot] at their end, as
// GitHub's apps do.
var bots = []string{"dependabot", "renovate", "renovate-bot", "dependabot-preview", "github-actions", "gitlab-bot", "project_bot", "mergify", "snyk-bot", "pre-commit-ci", "greenkeeper"}

// IsBot reports whether an account is a program's: an app of GitHub's, a
// project's or group's token of GitLab's (docs.gitlab.com, "Project access
// tokens", bot users), or one that is well known.
func IsBot(login string) bool {
	login = strings.ToLower(login)
	return strings.HasSuffix(login, "[bot]") || tokenBot.MatchString(login) || slices.Contains(bots, login)
}

var tokenBot = regexp.MustCompile(`^(?:project|group)_[0-9]+_bot(?:_|$|[0-9])`)

// Guarded reports whether a fixer's patch must not touch a file: what runs CI
// with the repository's secrets as soon as the branch is there, who has to
// review, and our own switch.
func Guarded(name string) bool {
	name = strings.ToLower(name)
	base := path.Base(name)
	return strings.HasPrefix(name, ".github/") || strings.HasPrefix(name, ".gitlab/") || strings.HasPrefix(name, ".devflowfix/") ||
		base == "codeowners" || base == ".gitlab-ci.yml" || strings.HasSuffix(base, ".gitlab-ci.yml")
}
