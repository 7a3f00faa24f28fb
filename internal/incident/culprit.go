package incident

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// CulpritState says how sure it is which commit broke a signal.
type CulpritState string

// The states, from the least sure to the surest.
const (
	CulpritUnknown   CulpritState = "unknown"   // nobody was looked for, or there is no range
	CulpritRange     CulpritState = "range"     // one of the commits between the last green and the first red one
	CulpritSuspect   CulpritState = "suspect"   // one of them stands out by what it changes, or is alone
	CulpritProbable  CulpritState = "probable"  // it is alone, and neither a flake nor the infrastructure explains the failure
	CulpritConfirmed CulpritState = "confirmed" // it has failed again, and the commit before it has passed again
)

// Sure reports whether somebody may be asked about the commit by name.
func (s CulpritState) Sure() bool { return s == CulpritProbable || s == CulpritConfirmed }

// Trial is one outcome of a signal.
type Trial struct {
	Position
	SHA        string
	FinishedAt time.Time
	// Known is false for a success of a run as a whole, of which it is not
	// known whether the job ran at all.
	Known bool
}

// Blame is what is known of the signal of an incident that failed first.
type Blame struct {
	Main     bool // the branch is one that everybody builds on
	Flaky    bool // the signal is known to be
	Infra    bool // all failures are the runner's, the network's or the forge's
	Low      bool // the fingerprint says no more than which job it was
	Failures []Trial
	Passes   []Trial // of the same branch, before the first failure or on a commit that failed
	// PassedAfter is true when the signal has passed anywhere in the
	// repository after its first failure, by the clock.
	PassedAfter bool

	Files        []string // that the failure names, of code and of tests
	WorkflowFile string

	// Commits are those between the last green and the first red commit; nil
	// until somebody has asked for them.
	Commits *CommitRange
}

// CommitRange is what the forge says of the commits after a base up to a head.
type CommitRange struct {
	Total   int           `json:"total"`   // zero when it is not known
	Commits []RangeCommit `json:"commits"` // by which the branch moved, oldest first
	Missing string        `json:"missing"` // why there are none, for people
}

// RangeCommit is a commit with the files that it changes on its branch.
type RangeCommit struct {
	SHA        string    `json:"sha"`
	Title      string    `json:"title"`
	Message    string    `json:"message"` // whole, or its first part
	Author     string    `json:"author"`  // login; empty when it is not known
	AuthorName string    `json:"author_name"`
	At         time.Time `json:"at"`
	Files      []string  `json:"files"`
	ChangeURL  string    `json:"change_url"` // of the pull or merge request that brought it, where that was asked for
}

// Suspect is a commit that may be the culprit.
type Suspect struct {
	RangeCommit
	IsBot    bool
	Evidence []string // what speaks against it, the strongest first
	weight   int
}

// Culprit is what is known of the commit that broke a signal.
type Culprit struct {
	State    CulpritState
	Base     string    // the last green commit; empty without a range
	Head     string    // the first red one
	Commits  int       // in the range; zero when it is not known
	Suspects []Suspect // the most suspect first
	Reason   string    // why it is not surer, and nothing more was done
}

// Author is whom to ask: the login of the author of a culprit that is sure,
// empty for bots.
func (c Culprit) Author() string {
	if !c.State.Sure() || c.Suspects[0].IsBot {
		return ""
	}
	return c.Suspects[0].Author
}

// Range returns the last green and the first red trial. Without a range the
// reason says why.
func (b Blame) Range() (base, head Trial, reason string) {
	switch {
	case len(b.Failures) == 0:
		return base, head, "No failure of this episode is known."
	case !b.Main:
		return base, head, "Culprits are looked for on branches that everybody builds on."
	case b.Infra:
		return base, head, "The infrastructure failed; no commit is to blame."
	case b.Flaky:
		return base, head, "The job is known to fail and pass on the same commits, so its failures blame no commit."
	}
	head = slices.MinFunc(b.Failures, Trial.compare)
	failed := map[string]bool{}
	for _, t := range b.Failures {
		failed[t.SHA] = true
	}
	for _, t := range b.Passes {
		if failed[t.SHA] {
			return base, head, "The job has also passed on a commit that failed, so it may be a flake."
		}
		if t.compare(head) < 0 && (base.SHA == "" || t.compare(base) > 0) {
			base = t
		}
	}
	if base.SHA == "" {
		return base, head, "No run is known in which the job passed on this branch before it failed."
	}
	return base, head, ""
}

func (t Trial) compare(other Trial) int { return t.Position.Compare(other.Position) }

// Culprit says who may have broken the signal, and how sure that is.
func (b Blame) Culprit() Culprit {
	base, head, reason := b.Range()
	if reason != "" {
		return Culprit{State: CulpritUnknown, Reason: reason}
	}
	c := Culprit{State: CulpritRange, Base: base.SHA, Head: head.SHA}
	if b.Commits == nil || len(b.Commits.Commits) == 0 {
		c.Reason = "The commits between the two are not known."
		if b.Commits != nil {
			c.Commits, c.Reason = b.Commits.Total, cmp.Or(b.Commits.Missing, c.Reason)
		}
		return c
	}
	c.Commits, c.Suspects = b.Commits.Total, b.suspects()
	alone := len(c.Suspects) == 1
	if alone {
		c.Suspects[0].Evidence = append([]string{"It is the only commit between the last run that passed and the first that failed."}, c.Suspects[0].Evidence...)
	}
	switch {
	case !alone && c.Suspects[0].weight == 0:
		c.Reason = "None of the commits changes what the failure names."
	case !alone:
		c.State, c.Reason = CulpritSuspect, fmt.Sprintf("One of %d commits: only a run of the commits between could tell them apart.", len(c.Suspects))
	default:
		c.State, c.Reason = b.convict(base, head)
	}
	return c
}

// Retrial is a run that would tell more of a culprit by being run again.
type Retrial struct {
	Trial
	IsParent bool // of the commit before the culprit
}

// Retrials are the runs whose job has to run again to confirm a culprit that is
// probable: its own, unless it has failed twice, and that of the commit before
// it, unless that has passed since.
func (b Blame) Retrials() []Retrial {
	if b.Culprit().State != CulpritProbable {
		return nil
	}
	base, head, _ := b.Range()
	failedAgain, passedAgain := b.tried(base, head)
	var out []Retrial
	if !failedAgain && head.ID > 0 { // checks of our own have ids below zero
		out = append(out, Retrial{Trial: head})
	}
	if !passedAgain && base.ID > 0 {
		out = append(out, Retrial{Trial: base, IsParent: true})
	}
	return out
}

// tried reports whether the suspect has failed again, and whether the commit
// before it has passed again since.
func (b Blame) tried(base, head Trial) (failedAgain, passedAgain bool) {
	again := 0 // failures of the suspect itself
	for _, t := range b.Failures {
		if t.SHA == head.SHA {
			again++
		}
	}
	return again >= 2, slices.ContainsFunc(b.Passes, func(t Trial) bool {
		return t.SHA == base.SHA && t.FinishedAt.After(head.FinishedAt)
	})
}

// convict says how sure it is of a commit that is alone in its range.
func (b Blame) convict(base, head Trial) (CulpritState, string) {
	failedAgain, passedAgain := b.tried(base, head)
	switch {
	case b.Low:
		return CulpritSuspect, "The log does not tell what failed, so two failures need not be the same."
	case len(b.Failures) < 2:
		return CulpritSuspect, "It has failed once; it takes a second failure."
	case !b.PassedAfter && !passedAgain:
		return CulpritSuspect, "The job has not passed anywhere since, so the cause may lie outside of the code."
	case !failedAgain || !passedAgain:
		return CulpritProbable, "Not confirmed: it takes another failure of this commit and another success of the one before it, by running both again."
	default:
		return CulpritConfirmed, "This commit has failed again, and the one before it has passed again."
	}
}

// suspects ranks the commits of the range: by what they change, the newest
// first among equals.
func (b Blame) suspects() []Suspect {
	var list []Suspect
	for _, c := range slices.Backward(b.Commits.Commits) {
		s := Suspect{RangeCommit: c, IsBot: isBot(c.Author, c.AuthorName)}
		s.weight, s.Evidence = b.against(c)
		list = append(list, s)
	}
	slices.SortStableFunc(list, func(a, b Suspect) int { return cmp.Compare(b.weight, a.weight) })
	return list
}

// What speaks against a commit, by its weight. A stronger fact outweighs all
// weaker ones together.
const (
	touchesDependency = 1 << iota
	touchesCI
	touchesFolder
	touchesSibling
	touchesNamed
)

// against collects what speaks against a commit.
func (b Blame) against(c RangeCommit) (weight int, evidence []string) {
	facts := map[int]string{}
	note := func(kind int, text string, args ...any) {
		if _, known := facts[kind]; !known {
			facts[kind] = fmt.Sprintf(text, args...)
		}
	}
	for _, file := range c.Files {
		for _, named := range b.Files {
			switch {
			case file == named:
				note(touchesNamed, "It changes %s, which the failure names.", file)
			case strings.HasSuffix(file, "/"+named): // Go's tests are named without their folders
				note(touchesNamed, "It changes %s; the failure names %s.", file, named)
			case strings.HasSuffix("/"+subject(file), "/"+subject(named)):
				note(touchesSibling, "It changes %s, which belongs to %s.", file, named)
			case path.Dir(named) != "." && path.Dir(file) == path.Dir(named):
				note(touchesFolder, "It changes %s, in the folder of %s.", file, named)
			}
		}
		switch {
		case file == b.WorkflowFile || ciFile.MatchString(file):
			note(touchesCI, "It changes %s, by which the job runs.", file)
		case dependencyFile.MatchString(file):
			note(touchesDependency, "It changes %s, and with it the dependencies.", file)
		}
	}
	for kind := touchesNamed; kind > 0; kind >>= 1 {
		if text, known := facts[kind]; known {
			weight |= kind
			evidence = append(evidence, text)
		}
	}
	return weight, evidence
}

var (
	ciFile         = regexp.MustCompile(`^(\.github/(workflows|actions)/|\.gitlab-ci|\.gitlab/ci/|ci/|\.ci/)|(^|/)(Dockerfile[^/]*|Makefile|Jenkinsfile)$`)
	dependencyFile = regexp.MustCompile(`(^|/)(go\.(mod|sum|work)|package(-lock)?\.json|yarn\.lock|pnpm-lock\.yaml|requirements[^/]*\.(txt|in)|pyproject\.toml|poetry\.lock|uv\.lock|Pipfile(\.lock)?|Cargo\.(toml|lock)|Gemfile(\.lock)?|composer\.(json|lock)|pom\.xml|build\.gradle(\.kts)?|gradle\.lockfile|mix\.(exs|lock)|[^/]+\.csproj|packages\.lock\.json)$`)
	testMark       = regexp.MustCompile(`^test_|[_.-](test|tests|spec)$|(Test|Tests|Spec)$`)
	botName        = regexp.MustCompile(`(?i)\[bot\]$|[-_]bot$|^(dependabot|renovate|greenkeeper|snyk|github-actions|pre-commit-ci)\b|^(project|group)_\d+_bot`)
)

// subject is the path of a file without its extension and without what makes
// it a test: of pay_test.go, test_pay.py and pay.spec.ts it is pay.
func subject(file string) string {
	dir, name := path.Split(file)
	name = strings.TrimSuffix(name, path.Ext(name))
	return dir + testMark.ReplaceAllString(name, "")
}

func isBot(login, name string) bool { return botName.MatchString(cmp.Or(login, name)) }

// Mainline returns those commits of a range by which the branch moved, oldest
// first: the head and its first parents. A merged change is one of them. It
// reports false when the way does not lead back to the base. Where the forge
// does not tell the parents, it is all commits.
func Mainline(base, head string, commits []forge.Commit) ([]forge.Commit, bool) {
	at := map[string]forge.Commit{}
	for _, c := range commits {
		if len(c.Parents) == 0 {
			return commits, len(commits) > 0
		}
		at[c.SHA] = c
	}
	var line []forge.Commit
	for sha := head; sha != base; {
		c, known := at[sha]
		if !known {
			return nil, false
		}
		delete(at, sha)
		line = append(line, c)
		sha = c.Parents[0]
	}
	slices.Reverse(line)
	return line, len(line) > 0
}
