package workers

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/evidence"
	"github.com/devflowfix/devflowfix/internal/forge"
	"github.com/devflowfix/devflowfix/internal/store"
)

func TestTestsOfAReport(t *testing.T) {
	report := forge.TestReport{
		Documents: [][]byte{
			[]byte(`<testsuite><testcase classname="shop.Voucher" name="expires"><failure message="want 3"/></testcase><testcase name="ok"/></testsuite>`),
			[]byte(`no report`),
		},
		Suites: []forge.TestSuite{{Name: "test", Total: 5, Failed: []forge.TestCase{{Class: "Cart", Name: "adds", File: "/builds/acme/api/spec/cart_spec.rb", Message: "expected 1\ngot 2"}}}},
	}
	tests, total := testsOf(report)
	var got []string
	for _, test := range tests {
		got = append(got, test.ID+": "+test.Message)
	}
	want := []string{"shop.Voucher::expires: want 3", "spec/cart_spec.rb::Cart::adds: expected 1"}
	if diff := cmp.Diff(want, got); diff != "" || total != 7 {
		t.Errorf("of %d tests (-want +got):\n%s", total, diff)
	}
}

func TestARunInWhichEverythingFailsHasOneCause(t *testing.T) {
	tests := []struct {
		name   string
		causes []string // of the jobs that were read; "low" says no more than which job it was
		want   string   // of a job that was not
	}{
		{"all of the same", []string{"x", "x", "x", "x", "x"}, "x"},
		{"nearly all", []string{"y", "x", "x", "x", "x"}, "x"},
		{"of several causes", []string{"x", "x", "x", "y", "y"}, "own"},
		{"nobody knows of what", []string{"low", "low", "low", "low", "low"}, "own"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var jobs []store.FailedJob
			for n, cause := range append(tt.causes, "own") {
				j := store.FailedJob{Name: fmt.Sprint("job ", n), Fingerprint: cause, Specificity: evidence.Medium}
				if cause == "low" {
					j.Specificity = evidence.Low
				}
				jobs = append(jobs, j)
			}
			shareCause(jobs, len(tt.causes))
			if got := jobs[len(tt.causes)].Fingerprint; got != tt.want {
				t.Errorf("the last job failed of %s, want %s", got, tt.want)
			}
		})
	}
}
