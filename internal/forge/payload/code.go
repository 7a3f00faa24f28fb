package payload

import (
	"github.com/tidwall/gjson"

	"github.com/devflowfix/devflowfix/internal/forge"
)

// Commits reads the commits of a push, which both forges write alike, and the
// paths that they touch, sorted and at most a number of them. GitLab names no
// account of an author.
func Commits(list gjson.Result, mostFiles int) ([]forge.Commit, []string) {
	if !list.IsArray() {
		return nil, nil
	}
	var commits []forge.Commit
	files := NewPaths(mostFiles)
	list.ForEach(func(_, c gjson.Result) bool {
		commits = append(commits, forge.Commit{
			SHA:        String(c.Get("id"), Name),
			Title:      Line(c.Get("message"), Text),
			Message:    String(c.Get("message"), Long),
			Author:     String(c.Get("author.username"), Text),
			AuthorName: String(c.Get("author.name"), Text),
			At:         Instant(c.Get("timestamp")),
		})
		for _, kind := range []string{"added", "modified", "removed"} {
			files.Add(Strings(c.Get(kind), Text)...)
		}
		return true
	})
	return commits, files.Sorted()
}
