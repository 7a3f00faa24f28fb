package forge

import (
	"context"
	"time"
)

// Code is what is read of a repository beside its runs. Callers name the part
// that they need.
type Code interface {
	Commits
	Files
	Branches
	Changes
	TestReports
	Linter
}

// MaxFiles is how many paths of a push or a commit are read at the most. It is
// GitHub's own limit for a commit (docs.github.com, "Get a commit").
const MaxFiles = 3000

// Commit is a commit. What a payload does not tell of it is empty.
type Commit struct {
	SHA        string
	Title      string // the first line of its message
	Message    string // cut at 64 KiB
	Author     string // login; empty when the forge knows no account, and in GitLab's answers
	AuthorName string
	At         time.Time // when it was committed
	Parents    []string
}

// Relation is how a head lies to a base.
type Relation string

// The relations.
const (
	Identical Relation = "identical"
	Ahead     Relation = "ahead"    // the head contains the base
	Behind    Relation = "behind"   // the base contains the head
	Diverged  Relation = "diverged" // each has commits that the other has not
)

// Comparison is what a head has that a base has not.
type Comparison struct {
	Relation  Relation
	MergeBase string   // empty when the two have no history in common
	Commits   []Commit // of the head alone, oldest first
	Files     []string // that differ between the merge base and the head, sorted
	// Truncated says that commits or files are missing: GitHub names at most 250
	// and 300, and a GitLab that took too long names what it got to.
	Truncated bool
}

// Commits reads commits.
type Commits interface {
	// Compare tells how the commit head lies to the commit base. NotFound when
	// one of them is gone, as it is some time after a forced push.
	Compare(ctx context.Context, repo Repository, base, head string) (Comparison, error)
	// ChangedFiles lists the paths that a commit changes against its first
	// parent, sorted, at most MaxFiles; of a renamed file both its names.
	ChangedFiles(ctx context.Context, repo Repository, sha string) ([]string, error)
}

// LargestFile is how many bytes a file may have that is read.
const LargestFile = 3 << 20

// FileTooLarge is the code of a file that has more than LargestFile bytes.
const FileTooLarge = "file_too_large"

// Files reads files.
type Files interface {
	// File returns a file as it is at a branch, tag or commit. NotFound when it
	// is not there or is no file; Permanent with the code FileTooLarge.
	File(ctx context.Context, repo Repository, path, ref string) ([]byte, error)
}

// Branch is the state of a branch.
type Branch struct {
	Name      string
	SHA       string // its head
	Protected bool
}

// Branches reads branches.
type Branches interface {
	// Branch returns a branch; NotFound when it was deleted.
	Branch(ctx context.Context, repo Repository, name string) (Branch, error)
}

// Changes reads pull requests and merge requests.
type Changes interface {
	// Change returns a change of the repository, and whether it is approved: at
	// GitHub by somebody's last word, with nobody's asking for changes.
	Change(ctx context.Context, repo Repository, number int64) (Change, error)
	// ChangesOf lists the changes of the repository that a commit belongs to or
	// came with. NotFound when the commit is gone.
	ChangesOf(ctx context.Context, repo Repository, sha string) ([]Change, error)
}

// TestReport is what a run reports of its tests. GitHub keeps what the run
// uploads, GitLab reads it itself: one of the two is set.
type TestReport struct {
	Documents [][]byte // JUnit XML
	Suites    []TestSuite
	// Truncated says that something was left out for its size.
	Truncated bool
}

// TestSuite is the tests of one job.
type TestSuite struct {
	Name   string // of the job
	Total  int
	Failed []TestCase
}

// TestCase is a test that failed.
type TestCase struct {
	Class   string
	Name    string
	File    string
	Message string // what it printed, cut at 64 KiB
}

// TestReports reads the results of tests.
type TestReports interface {
	// TestReport returns what a run reports of its tests, empty when it reports
	// nothing. Of GitLab's suites only those of the job, if it has a name;
	// GitHub does not tell which job uploaded what.
	TestReport(ctx context.Context, repo Repository, run Run, job Job) (TestReport, error)
}

// LintResult is what a forge says of a CI configuration.
type LintResult struct {
	Valid    bool
	Errors   []string
	Warnings []string
}

// Unsupported is the code of what one of the forges cannot do.
const Unsupported = "unsupported"

// Linter checks CI configurations.
type Linter interface {
	// LintCI checks a CI configuration in the context of the repository's
	// default branch. GitHub cannot: Permanent with the code Unsupported.
	LintCI(ctx context.Context, repo Repository, content []byte) (LintResult, error)
}
