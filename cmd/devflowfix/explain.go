package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/fault"
)

type explainCommand struct {
	Log   string `arg:"" help:"Log of the failed job; - is the standard input." placeholder:"FAIL.log"`
	Green string `help:"Log of the last run of the same job that succeeded." placeholder:"PASS.log"`
	JSON  bool   `name:"json" help:"Print one JSON object."`
}

// Run explains a job's log without settings, database or network.
func (c explainCommand) Run(p *process) error {
	if c.Log == "-" && c.Green == "-" {
		return fault.New(fault.Invalid, "Only one of the logs can be the standard input.")
	}
	var green *evidence.Green
	if c.Green != "" {
		err := withLog(c.Green, func(log io.Reader) (err error) {
			green, err = evidence.ReadGreen(log)
			return err
		})
		if err != nil {
			return err
		}
	}
	return withLog(c.Log, func(log io.Reader) error {
		e, err := evidence.Explain(log, green, evidence.Options{})
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(p.stdout).Encode(view(e))
		}
		tell(p.stdout, e)
		return nil
	})
}

// withLog calls read with a log, and says what is wrong with a file that is
// none.
func withLog(name string, read func(io.Reader) error) error {
	if name == "-" {
		return read(os.Stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fault.New(fault.Invalid, fmt.Sprintf("There is no file %s.", name))
		}
		return err
	}
	defer file.Close()
	err = read(file)
	if errors.Is(err, syscall.EISDIR) {
		return fault.New(fault.Invalid, fmt.Sprintf("%s is a directory; name the log's file.", name))
	}
	return err
}

// explained is an explanation as --json prints it.
type explained struct {
	Lines       []int                `json:"lines"` // of FAIL.log, from 1, best first
	Headline    string               `json:"headline"`
	Category    evidence.Category    `json:"category"`
	Infra       bool                 `json:"infra"`
	Fingerprint string               `json:"fingerprint"`
	Key         string               `json:"key"`
	Specificity evidence.Specificity `json:"specificity"`
	Files       []string             `json:"files"`
	Tests       []string             `json:"tests"`
	FailedTests int                  `json:"failed_tests"`
	Rule        string               `json:"rule"`
}

func view(e evidence.Explanation) explained {
	return explained{
		Lines: filled(e.Best), Headline: e.Headline, Category: e.Category, Infra: e.Infra,
		Fingerprint: e.Fingerprint, Key: e.Key, Specificity: e.Specificity,
		Files: filled(e.Files), Tests: filled(e.Tests), FailedTests: e.FailedTests, Rule: e.Rule,
	}
}

// filled makes JSON write [] and not null.
func filled[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func tell(w io.Writer, e evidence.Explanation) {
	fmt.Fprintln(w, e.Headline)
	fmt.Fprintf(w, "category     %s\n", e.Category)
	fmt.Fprintf(w, "fingerprint  %s (%s)\n", e.Fingerprint, e.Specificity)
	fmt.Fprintf(w, "decided by   %s\n", e.Rule)
	if e.FailedTests > 0 {
		fmt.Fprintf(w, "failed tests %d\n", e.FailedTests)
	}
	for _, file := range e.Files {
		fmt.Fprintf(w, "file         %s\n", file)
	}
	last := 0
	for _, line := range e.Lines {
		if line.Number != last+1 {
			fmt.Fprintln(w)
		}
		mark := ' '
		if line.Error {
			mark = '>'
		}
		fmt.Fprintf(w, "%c %6d  %s\n", mark, line.Number, line.Text)
		last = line.Number
	}
}
