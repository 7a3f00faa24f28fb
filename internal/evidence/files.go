package evidence

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// files are those that tests and diagnostics name, most telling first.
func (l *log) files(tests []Test) []string {
	var files []string
	add := func(file string) {
		file = strings.TrimPrefix(strings.ReplaceAll(file, `\`, "/"), "./")
		if file == "" || path.IsAbs(file) || len(files) >= maxFiles || slices.Contains(files, file) || strings.Contains(file, "node_modules/") || strings.Contains(file, "site-packages/") {
			return
		}
		files = append(files, file)
	}
	for _, t := range tests[:min(len(tests), maxFiles)] {
		add(t.File)
	}
	for _, m := range l.fired {
		if m != nil && m.rule.Kind != kindSummary {
			add(m.captures["file"])
		}
	}
	return files
}

// repoFile gives a file's path inside the repository, as far as the folder of
// the checkout is known.
func repoFile(file string) string {
	return strings.TrimPrefix(stripRoot(strings.ReplaceAll(file, `\`, "/")), "./")
}

// codeHosts are where a module's path has an owner and a repository.
var codeHosts = []string{"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"}

// majorVersion is the end of the path of a Go module from version 2 on.
var majorVersion = regexp.MustCompile(`^v[2-9]\d*$`)

// inPackage places a file that Go names without its folder, by the import path
// of its package. How much of that is the module's path is a guess: host, owner
// and repository, or what stands in front of the first folder.
func inPackage(file, importPath string) string {
	if importPath == "" || strings.Contains(file, "/") {
		return file
	}
	folders := strings.Split(importPath, "/")
	module := 1
	switch {
	case slices.Contains(codeHosts, folders[0]):
		module = 3
	case strings.Contains(folders[0], "."):
		module = 2
	}
	folders = folders[min(module, len(folders)):]
	if len(folders) > 0 && majorVersion.MatchString(folders[0]) {
		folders = folders[1:]
	}
	return path.Join(append(folders, file)...)
}
