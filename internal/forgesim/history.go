package forgesim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// history is what git keeps of a repository: commits by their hashes, and the
// files of each by the hash of its tree.
type history struct {
	Commits map[string]Commit `json:"commits"`
	Trees   map[string]tree   `json:"trees"`
	// Modes are the modes of files that are not regular, by tree and path.
	Modes map[string]map[string]string `json:"modes,omitempty"`
	Blobs map[string]string            `json:"blobs,omitempty"` // that were made by themselves
}

// tree maps the path of a file to its content.
type tree map[string]string

// historyOf is the history of a repository, with the heads of its branches.
func (s *Sim) historyOf(r *Repository) *history {
	if s.state.Histories == nil {
		s.state.Histories = map[int64]*history{}
	}
	h := s.state.Histories[r.ID]
	if h == nil {
		h = &history{Commits: map[string]Commit{}, Trees: map[string]tree{}}
		s.state.Histories[r.ID] = h
		for _, head := range r.Heads {
			h.Commits[head.SHA] = head
		}
	}
	return h
}

// resolve finds the commit that a branch's name or a hash stands for.
func (s *Sim) resolve(r *Repository, ref string) (Commit, bool) {
	if head, is := r.Heads[strings.TrimPrefix(ref, "refs/heads/")]; is {
		return head, true
	}
	c, there := s.historyOf(r).Commits[ref]
	return c, there
}

// parents are the commits that a commit stands on, the first one first.
func (c Commit) parents() []string {
	if c.Parent == zeroSHA {
		return []string{}
	}
	return append([]string{c.Parent}, c.Merged...)
}

// reach are the commits that can be reached from one, each after its parents.
func (h *history) reach(from string) []Commit {
	var all []Commit
	seen := map[string]bool{}
	// A stack of its own: histories of a long play are deeper than they are wide.
	type visit struct {
		sha  string
		left bool // its parents were visited
	}
	for stack := []visit{{sha: from}}; len(stack) > 0; {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		c, there := h.Commits[at.sha]
		switch {
		case !there:
		case at.left:
			all = append(all, c)
		case !seen[at.sha]:
			seen[at.sha] = true
			stack = append(stack, visit{at.sha, true})
			for _, parent := range slices.Backward(c.parents()) {
				stack = append(stack, visit{sha: parent})
			}
		}
	}
	return all
}

// between are the commits of head that base has not, oldest first.
func (h *history) between(base, head string) []Commit {
	known := map[string]bool{}
	for _, c := range h.reach(base) {
		known[c.SHA] = true
	}
	return slices.DeleteFunc(h.reach(head), func(c Commit) bool { return known[c.SHA] })
}

// mergeBase is the newest commit that both have.
func (h *history) mergeBase(a, b string) (Commit, bool) {
	known := map[string]bool{}
	for _, c := range h.reach(a) {
		known[c.SHA] = true
	}
	// Of those of a list in which parents come first, the last has no other
	// that stands on it.
	for _, c := range slices.Backward(h.reach(b)) {
		if known[c.SHA] {
			return c, true
		}
	}
	return Commit{}, false
}

// change is how a file differs between two trees.
type change struct {
	path   string
	status string // added, modified or removed
}

// diff lists how the files of a commit differ from those of another.
func (h *history) diff(from, to string) []change {
	before, after := h.Trees[h.Commits[from].TreeID], h.Trees[h.Commits[to].TreeID]
	var all []change
	for path, content := range after {
		switch old, there := before[path]; {
		case !there:
			all = append(all, change{path, "added"})
		case old != content:
			all = append(all, change{path, "modified"})
		}
	}
	for path := range before {
		if _, there := after[path]; !there {
			all = append(all, change{path, "removed"})
		}
	}
	slices.SortFunc(all, func(a, b change) int { return strings.Compare(a.path, b.path) })
	return all
}

// touched lists the paths of changes of one kind.
func touched(all []change, status string) []string {
	paths := []string{}
	for _, c := range all {
		if c.status == status {
			paths = append(paths, c.path)
		}
	}
	return paths
}

// inventedFile is what a commit changes that is not told what to change.
const inventedFile = "checkout/voucher.go"

// plant gives a commit its files: those that it stands on, as the spec changes
// them.
func (h *history) plant(c *Commit, spec commitSpec) {
	files := maps.Clone(h.Trees[h.Commits[c.Parent].TreeID])
	if files == nil {
		files = tree{"README.md": "# The simulator's repository\n"}
	}
	for _, other := range c.Merged {
		base, _ := h.mergeBase(c.Parent, other)
		h.apply(files, base.SHA, other)
	}
	if undone, there := h.Commits[spec.revert]; there {
		h.apply(files, undone.SHA, undone.Parent)
	}
	maps.Copy(files, spec.files)
	for _, path := range spec.remove {
		delete(files, path)
	}
	if len(spec.files)+len(spec.remove)+len(c.Merged) == 0 && spec.revert == "" {
		files[inventedFile] = fmt.Sprintf("package checkout\n\n// %s\n", c.SHA)
	}
	c.TreeID = h.keep(files, h.Modes[h.Commits[c.Parent].TreeID])
	h.Commits[c.SHA] = *c
}

// apply changes files as they differ between two commits.
func (h *history) apply(files tree, from, to string) {
	after := h.Trees[h.Commits[to].TreeID]
	for _, c := range h.diff(from, to) {
		if c.status == "removed" {
			delete(files, c.path)
		} else {
			files[c.path] = after[c.path]
		}
	}
}
