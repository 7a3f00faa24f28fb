// Package patch applies the unified diffs that operators' fixers hand us. Such
// a diff is outside bytes: it may change plain text files inside the
// repository, a bounded number of them, and nothing else.
package patch

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/bluekeyes/go-gitdiff/gitdiff"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/forge"
)

// Largest is how many bytes a patch may have.
const Largest = 1 << 20

// Apply returns the files as the patch makes them. files reads a file of the
// commit that the patch is for; its error is returned as it is, except that
// NotFound says that there is no such file. A patch that may not be applied is
// Invalid or TooLarge; one that does not fit the files is Conflict. Context
// has to fit exactly, at the lines that the patch names.
func Apply(files func(path string) ([]byte, error), patch []byte) ([]forge.FileChange, error) {
	if len(patch) > Largest {
		return nil, fault.New(fault.TooLarge, "The patch is larger than 1 MiB.")
	}
	parsed, _, err := gitdiff.Parse(bytes.NewReader(patch))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "The patch is no unified diff of git.")
	}
	if len(parsed) == 0 {
		return nil, fault.New(fault.Invalid, "The patch changes nothing.")
	}
	changed := map[string]bool{}
	var all []forge.FileChange
	for _, f := range parsed {
		if !isGits(patch) {
			f.OldName, f.NewName = bare(f.OldName), bare(f.NewName)
		}
		changes, err := apply(files, f)
		if err != nil {
			return nil, err
		}
		for _, c := range changes {
			if changed[c.Path] {
				return nil, fault.New(fault.Invalid, "The patch changes "+c.Path+" twice.")
			}
			changed[c.Path] = true
			all = append(all, c)
		}
		if len(all) > forge.MostFiles {
			return nil, fault.New(fault.TooLarge, fmt.Sprintf("The patch changes more than %d files.", forge.MostFiles))
		}
	}
	slices.SortFunc(all, func(a, b forge.FileChange) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) })
	return all, nil
}

// isGits reports whether a patch has git's own lines, from which the parser
// knows the names. diff -u writes a/ and b/ before them, which stay.
func isGits(patch []byte) bool {
	return bytes.HasPrefix(patch, []byte("diff --git ")) || bytes.Contains(patch, []byte("\ndiff --git "))
}

func bare(name string) string {
	if rest, ok := strings.CutPrefix(name, "a/"); ok {
		return rest
	}
	return strings.TrimPrefix(name, "b/")
}

// apply makes the changes of one file: one, or two where it is renamed.
func apply(files func(string) ([]byte, error), f *gitdiff.File) ([]forge.FileChange, error) {
	if err := allowed(f); err != nil {
		return nil, err
	}
	var before []byte
	var err error
	if f.IsNew {
		err = absent(files, f.NewName)
	} else {
		before, err = present(files, f.OldName)
	}
	if err == nil && (f.IsRename || f.IsCopy) {
		err = absent(files, f.NewName)
	}
	if err != nil {
		return nil, err
	}
	after, err := text(before, f)
	if err != nil {
		return nil, err
	}
	if f.IsDelete {
		if len(after) > 0 {
			return nil, fault.New(fault.Conflict, "The patch deletes "+f.OldName+", but the file has more than the patch says.")
		}
		return []forge.FileChange{{Path: f.OldName, Delete: true}}, nil
	}
	changes := []forge.FileChange{{Path: f.NewName, Content: after, Mode: mode(f)}}
	if f.IsRename {
		changes = append(changes, forge.FileChange{Path: f.OldName, Delete: true})
	}
	return changes, nil
}

// What git's modes say of an entry. The parser hands them over as they are
// written, although its type is that of the operating system.
const (
	gitType fs.FileMode = 0o170000
	gitFile fs.FileMode = 0o100000
)

// allowed refuses what a patch must not touch.
func allowed(f *gitdiff.File) error {
	for _, name := range []string{f.OldName, f.NewName} {
		if name == "" {
			continue
		}
		if err := forge.CheckPath(name); err != nil {
			return err
		}
	}
	if f.IsBinary || f.BinaryFragment != nil {
		return fault.New(fault.Invalid, "The patch changes a binary file, which is not done.")
	}
	for _, m := range []fs.FileMode{f.OldMode, f.NewMode} {
		if m != 0 && m&gitType != gitFile {
			return fault.New(fault.Invalid, "The patch changes a symbolic link or a submodule, which is not done.")
		}
	}
	switch {
	case f.IsNew && f.NewName == "", f.IsDelete && f.OldName == "", !f.IsNew && !f.IsDelete && (f.OldName == "" || f.NewName == ""):
		return fault.New(fault.Invalid, "The patch does not say which file it changes.")
	case !f.IsNew && !f.IsDelete && f.OldName != f.NewName && !f.IsRename && !f.IsCopy:
		return fault.New(fault.Invalid, "The patch names one file in two ways.")
	}
	return nil
}

func present(files func(string) ([]byte, error), name string) ([]byte, error) {
	content, err := files(name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, fault.Wrap(fault.Conflict, err, "The patch changes "+name+", which is not there.")
	case err != nil:
		return nil, err
	case len(content) > forge.LargestChange:
		return nil, fault.New(fault.TooLarge, "The file "+name+" is larger than 1 MiB.")
	case bytes.IndexByte(content, 0) >= 0:
		return nil, fault.New(fault.Invalid, "The file "+name+" is binary, so it is not changed.")
	}
	return content, nil
}

func absent(files func(string) ([]byte, error), name string) error {
	switch _, err := files(name); {
	case err == nil:
		return fault.New(fault.Conflict, "The patch makes "+name+", which is there already.")
	case fault.Is(err, fault.NotFound):
		return nil
	default:
		return err
	}
}

// text applies the hunks.
func text(before []byte, f *gitdiff.File) ([]byte, error) {
	var after bytes.Buffer
	err := gitdiff.Apply(&after, bytes.NewReader(before), f)
	switch {
	case errors.Is(err, &gitdiff.Conflict{}):
		return nil, fault.Wrap(fault.Conflict, err, "The patch does not fit the file "+f.OldName+" as it is.")
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, err, "The patch of the file "+f.OldName+f.NewName+" contradicts itself.")
	case after.Len() > forge.LargestChange:
		return nil, fault.New(fault.TooLarge, "The patch makes "+f.NewName+" larger than 1 MiB.")
	case bytes.IndexByte(after.Bytes(), 0) >= 0:
		return nil, fault.New(fault.Invalid, "The patch makes "+f.NewName+" a binary file, which is not done.")
	}
	return after.Bytes(), nil
}

// mode is the mode that the patch gives a file; empty when it says nothing.
func mode(f *gitdiff.File) forge.FileMode {
	m := f.NewMode
	if m == 0 {
		m = f.OldMode // stands on the index line of a file that keeps its mode
	}
	switch {
	case m == 0:
		return ""
	case m&0o111 != 0:
		return forge.ExecutableFile
	default:
		return forge.RegularFile
	}
}
