package forge

import (
	"context"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// Codes of failures of the facets that write.
const (
	MissingPermission = "missing_permission" // the sentence names what is missing
	NeedsApp          = "needs_app"          // GitHub lets only a GitHub App do it
	StillRunning      = "still_running"      // the run has not ended, so it cannot run again
	TooOld            = "too_old"            // the forge no longer runs it again
	NothingToRerun    = "nothing_to_rerun"   // no job of the run failed
	BranchTaken       = "branch_taken"       // the branch holds something else than is proposed
	FilesMoved        = "files_moved"        // the files have changed since, so the commit cannot be reverted
)

// RerunScope says what of a run is run again: the failed jobs, unless
// something else is asked for.
type RerunScope struct {
	All bool  // every job; GitHub only
	Job int64 // this job alone, with those that depend on it
}

// Reruns runs what failed again.
type Reruns interface {
	// Rerun starts a new attempt of a run. It is Conflict with the code
	// StillRunning or NothingToRerun, and Invalid with the code TooOld, when
	// the run cannot be run again.
	Rerun(ctx context.Context, repo Repository, runID int64, scope RerunScope) error
}

// Comment is a comment of ours.
type Comment struct {
	ID  int64
	URL string
}

// Comments writes to pull and merge requests. Each marker stands for at most
// one comment of ours, so that what is said of one thing is kept up to date
// instead of said again.
type Comments interface {
	// Comment says body in the comment of that marker: it edits the one that
	// is there, else it makes one. A body that is too long for the forge is
	// cut. NotFound when there is no such change.
	Comment(ctx context.Context, repo Repository, change int64, marker, body string) (Comment, error)
	// DeleteComment removes the comment of that marker. One that is not there
	// is no error.
	DeleteComment(ctx context.Context, repo Repository, change int64, marker string) error
}

var markerForm = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9_./:]|-[A-Za-z0-9_./:]){0,99}$`)

// MarkerLine is the first line of the comment of a marker, which readers do
// not see.
func MarkerLine(marker string) (string, error) {
	if !markerForm.MatchString(marker) {
		return "", &fault.Error{Kind: fault.Invalid, Field: "marker", Sentence: "A marker has up to 100 letters, digits and single hyphens, dots, slashes and colons."}
	}
	return "<!-- devflowfix " + marker + " -->\n", nil
}

// CheckStatus says how far a check has come.
type CheckStatus string

// The states of a check.
const (
	CheckQueued    CheckStatus = "queued"
	CheckRunning   CheckStatus = "in_progress"
	CheckCompleted CheckStatus = "completed"
)

// CheckConclusion says how a completed check ended.
type CheckConclusion string

// The conclusions, in GitHub's words.
const (
	CheckSuccess   CheckConclusion = "success"
	CheckFailure   CheckConclusion = "failure"
	CheckNeutral   CheckConclusion = "neutral"
	CheckCancelled CheckConclusion = "cancelled"
	CheckSkipped   CheckConclusion = "skipped"
)

// AnnotationLevel is how serious an annotation is.
type AnnotationLevel string

// The levels, in GitHub's words.
const (
	NoticeLevel  AnnotationLevel = "notice"
	WarningLevel AnnotationLevel = "warning"
	FailureLevel AnnotationLevel = "failure"
)

// Annotation is a remark on a line of a file.
type Annotation struct {
	Path    string
	Line    int // from 1
	Message string
	Level   AnnotationLevel
}

// CheckRun is what we say of a commit: GitHub's check run, GitLab's commit
// status (which has no summary and no annotations).
type CheckRun struct {
	Name       string // how people find it among the checks
	SHA        string
	ExternalID string // ours: identifies it among the check runs of the commit
	Status     CheckStatus
	Conclusion CheckConclusion // of a completed one
	Title      string
	Summary    string // Markdown
	DetailsURL string
	// Annotations are kept by GitHub in their order and never removed: of a
	// check run that has some, only those beyond their number are added.
	Annotations []Annotation
}

// Validate refuses what neither forge could take.
func (c CheckRun) Validate() error {
	switch {
	case c.Name == "" || !shaForm.MatchString(c.SHA) || c.ExternalID == "":
		return fault.New(fault.Invalid, "A check needs a name, the whole SHA of a commit and an external id.")
	case (c.Status == CheckCompleted) != (c.Conclusion != ""):
		return fault.New(fault.Invalid, "A check has a conclusion when it is completed, and only then.")
	}
	return nil
}

// Checks publishes checks of commits.
type Checks interface {
	// CheckRun makes the check, or changes the one that has its external id.
	// At GitHub only an App may: else it is Permanent with the code NeedsApp.
	CheckRun(ctx context.Context, repo Repository, c CheckRun) error
}

// Writers tells who may write to a repository.
type Writers interface {
	// MayWrite reports whether an account may push to the repository. An
	// account that is not there may not.
	MayWrite(ctx context.Context, repo Repository, login string) (bool, error)
}

// FileMode is git's mode of a file.
type FileMode string

// The modes of files that may be proposed. Without a mode, a file keeps the
// one that it has, and a new one is regular.
const (
	RegularFile    FileMode = "100644"
	ExecutableFile FileMode = "100755"
)

// FileChange is the new state of one file.
type FileChange struct {
	Path    string
	Content []byte
	Mode    FileMode // empty: as it was
	Delete  bool     // then Content and Mode mean nothing
}

// Proposal is one commit on a new branch, and the pull or merge request that
// asks for it.
type Proposal struct {
	Branch        string
	Base          string // the branch that it is meant for
	BaseSHA       string // the commit of Base that it is made on
	Title         string
	Body          string // Markdown
	Draft         bool
	CommitMessage string
	Files         []FileChange
}

// Bounds of what is proposed.
const (
	MostFiles     = 100
	LargestChange = 1 << 20 // bytes
)

var (
	shaForm    = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
	branchForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*$`)
)

// CheckSHA refuses what is not the whole name of a commit.
func CheckSHA(sha string) error {
	if !shaForm.MatchString(sha) {
		return &fault.Error{Kind: fault.Invalid, Field: "sha", Sentence: "A commit is named by its whole SHA, in small letters."}
	}
	return nil
}

// Validate refuses a proposal that no forge could take, or none should.
func (p Proposal) Validate() error {
	invalid := func(field, sentence string) error {
		return &fault.Error{Kind: fault.Invalid, Field: field, Sentence: sentence}
	}
	switch {
	case len(p.Branch) > 200 || !branchForm.MatchString(p.Branch) || strings.Contains(p.Branch, "..") ||
		strings.HasSuffix(p.Branch, ".") || strings.Contains(p.Branch+"/", ".lock/") || strings.HasPrefix(p.Branch, "refs/"):
		return invalid("branch", "The branch's name is not one that we make: letters, digits and - _ . + / only.")
	case p.Base == "" || p.Base == p.Branch:
		return invalid("base", "A proposal needs a branch that it is meant for, and which is not its own.")
	case !shaForm.MatchString(p.BaseSHA):
		return invalid("base_sha", "A proposal needs the whole SHA of the commit that it is made on.")
	case strings.TrimSpace(p.Title) == "" || strings.TrimSpace(p.CommitMessage) == "":
		return invalid("title", "A proposal needs a title and a commit message.")
	case len(p.Files) == 0 || len(p.Files) > MostFiles:
		return invalid("files", "A proposal changes between one and 100 files.")
	}
	seen := map[string]bool{}
	for _, f := range p.Files {
		if err := f.validate(); err != nil {
			return err
		}
		if seen[f.Path] {
			return invalid("files", "The file "+f.Path+" is changed twice.")
		}
		seen[f.Path] = true
	}
	return nil
}

func (f FileChange) validate() error {
	if err := CheckPath(f.Path); err != nil {
		return err
	}
	if f.Delete {
		return nil
	}
	switch {
	case f.Mode != "" && f.Mode != RegularFile && f.Mode != ExecutableFile:
		return &fault.Error{Kind: fault.Invalid, Field: "files", Sentence: "The file " + f.Path + " is no plain file: symbolic links and submodules are not changed."}
	case len(f.Content) > LargestChange:
		return &fault.Error{Kind: fault.TooLarge, Field: "files", Sentence: "The file " + f.Path + " is larger than 1 MiB."}
	}
	return nil
}

// CheckPath refuses a path that does not name a file inside a repository, or
// one that git keeps for itself under any spelling that a file system of
// some checkout takes for .git (git's fsck: case, trailing dots and spaces,
// the short name git~1, and characters that HFS+ ignores).
func CheckPath(p string) error {
	bad := &fault.Error{Kind: fault.Invalid, Field: "files", Sentence: "A changed file lies outside of the repository, or its path cannot be used everywhere."}
	if p == "" || len(p) > 1024 || !utf8.ValidString(p) || path.Clean(p) != p || path.IsAbs(p) || p == "." {
		return bad
	}
	for _, r := range p {
		if r < ' ' || r == 0x7f || r == '\\' || r == ':' || ignorable(r) {
			return bad
		}
	}
	for part := range strings.SplitSeq(p, "/") {
		name := strings.ToLower(strings.TrimRight(part, ". "))
		if part == ".." || name == "" || name == ".git" || name == "git~1" {
			return bad
		}
	}
	return nil
}

// ignorable reports whether HFS+ leaves a character out of a name.
func ignorable(r rune) bool {
	return r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff
}

// Proposals asks people to take changes. Nothing is ever forced, and nothing is
// merged.
type Proposals interface {
	// OpenChange makes the branch, its commit and the request. What is there
	// of it already, after a try whose outcome was unknown, is adopted. A
	// branch that holds something else is Conflict with the code BranchTaken.
	OpenChange(ctx context.Context, repo Repository, p Proposal) (Change, error)
	// Revert prepares the reverse of a commit on a branch, without writing
	// anything. A merge is reverted to its first parent. When files that it
	// changed have changed since, that is Conflict with the code FilesMoved,
	// and the sentence names them.
	Revert(ctx context.Context, repo Repository, sha, base string) (Proposal, error)
	// CloseChange closes the request, which may be closed already.
	CloseChange(ctx context.Context, repo Repository, number int64) error
}

// Reverting is the proposal that a revert begins as; its files and base commit
// are the forge's to add.
func Reverting(sha, base, message string) Proposal {
	title, _, _ := strings.Cut(message, "\n")
	title = `Revert "` + strings.TrimSpace(title) + `"`
	return Proposal{
		Branch: "devflowfix/revert-" + sha[:min(12, len(sha))], Base: base, Title: title,
		CommitMessage: title + "\n\nThis reverts commit " + sha + ".\n",
	}
}

// ErrMoved says that the files of a commit cannot be reverted.
func ErrMoved(sha string, files []string) error {
	shown := strings.Join(files[:min(10, len(files))], ", ")
	if len(files) > 10 {
		shown += " and more"
	}
	return &fault.Error{Kind: fault.Conflict, Code: FilesMoved,
		Sentence: "The commit " + sha[:min(12, len(sha))] + " cannot be reverted by itself: these files have changed since: " + shown + "."}
}
