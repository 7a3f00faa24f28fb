package forgesim

import (
	"crypto/sha1" //nolint:gosec // git's hash, not a secret
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strings"
	"unicode"
)

// person is somebody with an account on a forge.
type person struct {
	login, name, email string
	id                 int64
}

// personOf invents the person behind a login, the same each time.
func personOf(login string) person {
	words := strings.FieldsFunc(login, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(login))
	return person{
		login: login,
		name:  strings.Join(words, " "),
		email: login + "@example.com",
		id:    20_000_000 + int64(h.Sum32()%80_000_000),
	}
}

// The account that the tokens belong to.
const tokenOwner = "devflowfix-demo"

// Who commits when nobody is named, and what.
var (
	committers = []string{"mira-lund", "tomas-okafor", "yuki-arai"}
	messages   = []string{
		"Retry the upload when the connection drops",
		"Parse durations with a day suffix",
		"Keep the order of headers when replaying",
		"Drop support for the old cache layout",
		"Explain why the lease is renewed early",
	}
)

// commitSpec is what is known about a commit; the rest is invented.
type commitSpec struct {
	sha, author, message string
	parent               string // empty: the head of the branch, or of the default branch
	merged               []string
	revert               string // a commit that it undoes
	files                map[string]string
	remove               []string
}

// newCommit is a commit for a branch, which is not moved to it yet.
func (s *Sim) newCommit(r *Repository, branch string, spec commitSpec) Commit {
	n := s.newID(0)
	c := Commit{SHA: spec.sha, Parent: spec.parent, Merged: spec.merged, Author: spec.author, Message: spec.message, At: s.now()}
	if c.Parent == "" {
		c.Parent = zeroSHA
		for _, from := range []string{branch, r.DefaultBranch} {
			if head, there := r.Heads[from]; there {
				c.Parent = head.SHA
				break
			}
		}
	}
	if c.Author == "" {
		c.Author = committers[n%int64(len(committers))]
	}
	if c.Message == "" {
		c.Message = messages[n%int64(len(messages))]
	}
	seed := fmt.Sprintf("%s %s %d", r.FullName, branch, n)
	if c.SHA == "" {
		c.SHA = gitHash("commit " + seed)
	}
	s.historyOf(r).plant(&c, spec)
	return c
}

const zeroSHA = "0000000000000000000000000000000000000000"

func gitHash(text string) string {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // git's hash, not a secret
	return hex.EncodeToString(sum[:])
}

// title is the first line of a commit message.
func title(message string) string {
	first, _, _ := strings.Cut(message, "\n")
	return first
}
