package incident_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/incident"
)

func TestExcerpt(t *testing.T) {
	tests := []struct {
		name, log string
		want      []incident.Line
	}{
		{"an empty log has no lines", "", []incident.Line{}},
		{
			"GitHub's times, groups and last line are not evidence",
			"\uFEFF2026-11-24T10:00:00.0000000Z ##[group]Run go test ./...\r\n" +
				"2026-11-24T10:00:01.0000000Z \x1b[31m--- FAIL: TestAdd (0.00s)\x1b[0m\n" +
				"2026-11-24T10:00:01.0000000Z     add_test.go:7: got 3, want 4\n" +
				"2026-11-24T10:00:02.0000000Z ##[error]Process completed with exit code 1.\n",
			[]incident.Line{
				{Text: "##[group]Run go test ./..."},
				{Text: "--- FAIL: TestAdd (0.00s)", Error: true},
				{Text: "    add_test.go:7: got 3, want 4"},
				{Text: "##[error]Process completed with exit code 1."},
			},
		},
		{
			"GitLab's sections and overwritten progress are not evidence",
			"\x1b[0Ksection_start:1700000000:step_script\r\x1b[0K\x1b[0;mExecuting\n" +
				"10%\r55%\rE   AssertionError: assert 1 == 2\n" +
				"ERROR: Job failed: exit code 1\n",
			[]incident.Line{
				{Text: "Executing"},
				{Text: "E   AssertionError: assert 1 == 2", Error: true},
				{Text: "ERROR: Job failed: exit code 1"},
			},
		},
		{"without a failure the end is shown", "one\ntwo\n", []incident.Line{{Text: "one"}, {Text: "two"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, incident.Excerpt([]byte(tt.log))); diff != "" {
				t.Errorf("Excerpt (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzExcerpt(f *testing.F) {
	f.Add([]byte("2026-11-24T10:00:00.0000000Z ##[error]boom\r\n"))
	f.Add([]byte("\x1b[0Ksection_end:1:a\r\x1b[0K\x00\xff\xfe error"))
	f.Add([]byte(strings.Repeat("error ", 1000)))
	f.Fuzz(func(t *testing.T, log []byte) {
		lines := incident.Excerpt(log)
		if len(lines) > 40 {
			t.Errorf("%d lines", len(lines))
		}
		for _, l := range lines {
			if !utf8.ValidString(l.Text) || strings.ContainsAny(l.Text, "\x00\n\r\x1b") {
				t.Errorf("PostgreSQL or a page cannot take %q", l.Text)
			}
		}
	})
}
