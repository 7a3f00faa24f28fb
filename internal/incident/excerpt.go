package incident

import (
	"regexp"
	"slices"
	"strings"
)

// Line is one line of a job's log.
type Line struct {
	Text string `json:"text"`
	// Error is true for a line that names the failure, false for its context.
	Error bool `json:"error"`
}

const (
	excerptBefore = 4
	excerptAfter  = 3
	excerptLines  = 40
	lineLength    = 500 // characters
)

var (
	githubTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z ?`)
	// Control sequences of terminals, and GitLab's section marks.
	control  = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]?`)
	sections = regexp.MustCompile(`section_(start|end):\d+:[A-Za-z0-9_.-]+(\[[^\]]*\])?\r`)
	// Marks of runners and of the usual compilers, linters and test runners.
	failure = regexp.MustCompile(`^##\[error\]|(?i:\b(error|fatal|panic|exception|traceback)\b)|\bFAIL(ED|URE|URES|S)?\b|^--- FAIL|^\s*[✕✗✖×●] |AssertionError|npm ERR!|(?i:segmentation fault|out of memory|command not found|no such file|permission denied|timed out|could not resolve|undefined reference)`)
	// Lines that every failed job ends with, or that only count.
	boilerplate = regexp.MustCompile(`(?i)Process completed with exit code|ERROR: Job failed|The operation was canceled|Cleaning up|post job cleanup|No files were found|\b(0|no) (error|fail)|error_log|--?(no-)?error|on[-_]error|fail-fast`)
)

// Excerpt picks from the end of a job's log the lines around the error: the
// last lines that look like failures, with what stands next to them. A log
// without such lines gives its last lines.
func Excerpt(log []byte) []Line {
	lines := cleanLines(log)
	var marked []int
	for i, text := range lines {
		if failure.MatchString(text) && !boilerplate.MatchString(text) {
			marked = append(marked, i)
		}
	}
	if len(marked) == 0 {
		return context(lines, max(0, len(lines)-excerptLines/2), len(lines), nil)
	}
	var chosen []Line
	end := len(lines)
	// From the last failure backwards, until there is enough.
	for _, i := range slices.Backward(marked) {
		from, to := max(0, i-excerptBefore), min(i+excerptAfter+1, end)
		if from >= to {
			continue
		}
		chosen = append(context(lines, from, to, marked), chosen...)
		end = from
		if len(chosen) >= excerptLines {
			break
		}
	}
	return chosen[max(0, len(chosen)-excerptLines):]
}

func context(lines []string, from, to int, marked []int) []Line {
	out := make([]Line, 0, to-from)
	for i := from; i < to; i++ {
		_, isError := slices.BinarySearch(marked, i)
		out = append(out, Line{Text: lines[i], Error: isError})
	}
	return out
}

// cleanLines splits a log into lines as a person would see them: without time
// stamps, colours, section marks, overwritten text and empty lines.
func cleanLines(log []byte) []string {
	text := strings.TrimPrefix(strings.ToValidUTF8(string(log), "\uFFFD"), "\uFEFF")
	var lines []string
	for raw := range strings.Lines(text) {
		line := cleanLine(raw)
		if strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func cleanLine(line string) string {
	line = strings.TrimRight(line, "\r\n")
	line = sections.ReplaceAllString(line, "")
	line = control.ReplaceAllString(line, "")
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:] // what came before was overwritten on the screen
	}
	line = strings.ReplaceAll(githubTime.ReplaceAllString(line, ""), "\x00", "")
	if len(line) > lineLength {
		line = strings.ToValidUTF8(line[:lineLength], "") + "…"
	}
	return line
}
