package forgesim

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// logFiles hold what each kind of job prints when it passes and when it fails.
// Both begin alike, so that the difference is the failure.
//
//go:embed logs/*.txt
var logFiles embed.FS

// kind is a kind of work that a job does.
type kind struct {
	Name    string
	Title   string   // for people
	setup   []string // GitHub's steps before the work
	command string
	exit    int // exit code when it fails
}

// step is GitHub's name of the step that does the work.
func (k kind) step() string { return "Run " + k.command }

func kinds() []kind {
	golang := []string{"Run actions/setup-go@v6"}
	node := []string{"Run actions/setup-node@v6"}
	return []kind{
		{"go-test", "a Go test fails", golang, "go test ./...", 1},
		{"go-build", "Go code does not compile", golang, "go build -v ./...", 1},
		{"data-race", "a data race in Go", golang, "go test -race ./...", 1},
		{"golangci-lint", "the linter finds something", golang, "golangci-lint run", 1},
		{"pytest", "a Python test fails", []string{"Run actions/setup-python@v6"}, "pytest", 1},
		{"tsc", "TypeScript types do not fit", node, "npm run typecheck", 2},
		{"npm-network", "npm install loses the network", node, "npm ci", 1},
	}
}

// LogKinds lists what a failing job can be made to do.
func LogKinds() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.Name)
	}
	return names
}

func kindOf(name string) kind {
	for _, k := range kinds() {
		if k.Name == name {
			return k
		}
	}
	return kinds()[0]
}

// output is what the job's work prints.
func (j Job) output() []string {
	text := j.Log
	if text == "" {
		file := "logs/" + kindOf(j.Kind).Name + ".pass.txt"
		if j.failed() {
			file = "logs/" + kindOf(j.Kind).Name + ".fail.txt"
		}
		raw, err := logFiles.ReadFile(file)
		if err != nil {
			panic("forgesim: " + err.Error()) // the file is part of the program
		}
		text = string(raw)
	}
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}

var githubStamp = regexp.MustCompile(`^\x{feff}?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z `)

// githubLog is the job's log in GitHub's form: each line with its time in
// tenths of microseconds, folded in groups, marks for what went wrong.
func (j Job) githubLog() string {
	if githubStamp.MatchString(j.Log) {
		return j.Log
	}
	var log stamped
	log.at, log.step = j.StartedAt, j.FinishedAt.Sub(j.StartedAt)/400
	log.text.WriteString("\ufeff") // GitHub's logs begin with a byte order mark
	log.line("Current runner version: '2.330.0'")
	log.group("Runner Image Provisioner", "Hosted Compute Agent", "Version: 20251016.436")
	log.group("Operating System", "Ubuntu", "24.04.3", "LTS")
	log.line("Prepare workflow directory", "Prepare all required actions", "Complete job name: "+j.Name)
	log.group("Run actions/checkout@v5", "with:", "  fetch-depth: 1", "  persist-credentials: true")
	log.line("Syncing repository", "[command]/usr/bin/git checkout --progress --force HEAD")
	for _, setup := range kindOf(j.Kind).setup {
		log.group(setup, "with:", "  check-latest: false", "  cache: true")
	}
	k := kindOf(j.Kind)
	log.group(k.step(), "\x1b[36;1m"+k.command+"\x1b[0m", "shell: /usr/bin/bash -e {0}")
	log.line(j.output()...)
	switch {
	case j.Conclusion == "timed_out":
		log.line("##[error]The operation was canceled.",
			"##[error]The job has exceeded the maximum execution time of 10m0s")
	case j.failed():
		log.line(fmt.Sprintf("##[error]Process completed with exit code %d.", k.exit))
	}
	log.line("Post job cleanup.", "[command]/usr/bin/git version", "git version 2.51.0", "Cleaning up orphan processes")
	return log.text.String()
}

// stamped writes lines with GitHub's time stamps.
type stamped struct {
	at   time.Time
	step time.Duration
	text strings.Builder
}

func (s *stamped) line(lines ...string) {
	for _, l := range lines {
		s.at = s.at.Add(s.step)
		s.text.WriteString(s.at.UTC().Format("2006-01-02T15:04:05.0000000Z") + " " + l + "\n")
	}
}

func (s *stamped) group(title string, lines ...string) {
	s.line("##[group]" + title)
	s.line(lines...)
	s.line("##[endgroup]")
}

// gitlabLog is the job's log in GitLab's form: sections with start and end
// times, lines overwritten by carriage returns, colours.
func (j Job) gitlabLog() string {
	if strings.Contains(j.Log, "section_start:") {
		return j.Log
	}
	k := kindOf(j.Kind)
	var b strings.Builder
	section := func(name, title string, lines ...string) {
		fmt.Fprintf(&b, "section_start:%d:%s\r\x1b[0K\x1b[0K\x1b[36;1m%s\x1b[0;m\n", j.StartedAt.Unix(), name, title)
		for _, l := range lines {
			b.WriteString(l + "\n")
		}
		fmt.Fprintf(&b, "section_end:%d:%s\r\x1b[0K", j.FinishedAt.Unix(), name)
	}
	b.WriteString("\x1b[0KRunning with gitlab-runner 19.1.0 (5d1a7d0c)\x1b[0;m\n")
	b.WriteString("\x1b[0K  on blue-2.saas-linux-small-amd64.runners-manager.gitlab.example/default\x1b[0;m\n")
	section("prepare_executor", "Preparing the \"docker+machine\" executor", "\x1b[0KUsing Docker executor with image ci:latest ...\x1b[0;m")
	section("get_sources", "Getting source from Git repository", "\x1b[32;1mFetching changes with git depth set to 20...\x1b[0;m",
		"\x1b[32;1mSkipping Git submodules setup\x1b[0;m")
	section("step_script", "Executing \"step_script\" stage of the job script",
		append([]string{"\x1b[32;1m$ " + k.command + "\x1b[0;m"}, j.output()...)...)
	switch {
	case j.FailureReason == "job_execution_timeout":
		b.WriteString("\x1b[31;1mERROR: Job failed: execution took longer than 1h0m0s seconds\n\x1b[0;m\n")
	case j.failed():
		section("cleanup_file_variables", "Cleaning up project directory and file based variables")
		fmt.Fprintf(&b, "\x1b[31;1mERROR: Job failed: exit code %d\n\x1b[0;m\n", k.exit)
	default:
		section("cleanup_file_variables", "Cleaning up project directory and file based variables")
		b.WriteString("\x1b[32;1mJob succeeded\x1b[0;m\n")
	}
	return b.String()
}

// EraseLog takes away the log of a job, as its owner can, or time does.
func (s *Sim) EraseLog(provider string, job int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for _, run := range s.state.Runs {
		if run.Provider != provider {
			continue
		}
		for _, a := range run.Attempts {
			for i := range a.Jobs { // an attempt has the jobs of the one before that passed
				if a.Jobs[i].ID == job {
					a.Jobs[i].Erased, found = true, true
				}
			}
		}
	}
	if !found {
		return fmt.Errorf("job %d: %w", job, errNotThere)
	}
	s.changed()
	return nil
}
