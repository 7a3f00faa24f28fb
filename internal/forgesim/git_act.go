package forgesim

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// regularFile is git's mode of a plain file.
const regularFile = "100644"

// keep puts files into the history and returns the hash of their tree. modes
// are of the files that are not regular; those of other files do not count.
func (h *history) keep(files tree, modes map[string]string) string {
	own := map[string]string{}
	for path, mode := range modes {
		if _, there := files[path]; there && mode != regularFile {
			own[path] = mode
		}
	}
	id := treeID(files, own)
	h.Trees[id] = files
	if len(own) > 0 {
		if h.Modes == nil {
			h.Modes = map[string]map[string]string{}
		}
		h.Modes[id] = own
	}
	return id
}

// entry is a file or a folder of a tree.
type entry struct{ name, mode, kind, sha string }

// list are the entries of a tree. Its folders can be asked for from now on, as
// trees of their own.
func (h *history) list(id string) []entry {
	files, modes := h.Trees[id], h.Modes[id]
	var all []entry
	for _, name := range entries(files, "") {
		if content, isFile := files[name]; isFile {
			all = append(all, entry{name, modeOf(modes, name), "blob", blobID(content)})
			continue
		}
		all = append(all, entry{name, "040000", "tree", h.keep(inside(files, name), inside(modes, name))})
	}
	return all
}

func modeOf(modes map[string]string, path string) string {
	if mode := modes[path]; mode != "" {
		return mode
	}
	return regularFile
}

// inside is the part of a map of paths that is in a folder.
func inside[M ~map[string]string](all M, folder string) M {
	part := M{}
	for path, value := range all {
		if rest, is := strings.CutPrefix(path, folder+"/"); is {
			part[rest] = value
		}
	}
	return part
}

// treeID is git's hash of a tree.
func treeID(files tree, modes map[string]string) string {
	var body strings.Builder
	names := entries(files, "")
	// git sorts a folder as if its name ended in a slash.
	key := func(name string) string {
		if _, isFile := files[name]; isFile {
			return name
		}
		return name + "/"
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(key(a), key(b)) })
	for _, name := range names {
		mode, sha := "40000", ""
		if content, isFile := files[name]; isFile {
			mode, sha = modeOf(modes, name), blobID(content)
		} else {
			sha = treeID(inside(files, name), inside(modes, name))
		}
		raw, err := hex.DecodeString(sha)
		if err != nil {
			panic("forgesim: a hash that is none: " + sha)
		}
		fmt.Fprintf(&body, "%s %s\x00%s", mode, name, raw)
	}
	return gitHash(fmt.Sprintf("tree %d\x00%s", body.Len(), body.String()))
}

// blobOf finds a file's content by its hash.
func (h *history) blobOf(sha string) (string, bool) {
	if content, there := h.Blobs[sha]; there {
		return content, true
	}
	for _, files := range h.Trees {
		for _, content := range files {
			if blobID(content) == sha {
				return content, true
			}
		}
	}
	return "", false
}

// keepBlob keeps a content by itself.
func (h *history) keepBlob(content string) string {
	if h.Blobs == nil {
		h.Blobs = map[string]string{}
	}
	sha := blobID(content)
	h.Blobs[sha] = content
	return sha
}

// edited is a copy of a tree that may be changed.
func (h *history) edited(id string) (tree, map[string]string) {
	files, modes := maps.Clone(h.Trees[id]), maps.Clone(h.Modes[id])
	if files == nil {
		files = tree{}
	}
	if modes == nil {
		modes = map[string]string{}
	}
	return files, modes
}

// actor is the login of who asks: of an installation, the App's bot.
func (s *Sim) actor(who caller) string {
	if who.login == "" && s.state.App != nil {
		return s.state.App.Slug + "[bot]"
	}
	return who.login
}
