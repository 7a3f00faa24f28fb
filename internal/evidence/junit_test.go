package evidence_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devflowfix/devflowfix/internal/evidence"
)

func TestParseJUnit(t *testing.T) {
	tests := []struct {
		name      string
		report    string
		want      []evidence.Test
		wantTotal int
	}{
		{"one suite", `<?xml version="1.0"?><testsuite tests="3"><testcase classname="a.B" name="ok"/><testcase classname="a.B" name="bad" file="tests/b.py"><failure message="1 != 2">trace</failure></testcase><testcase name="gone"><skipped/></testcase></testsuite>`,
			[]evidence.Test{{ID: "tests/b.py::a.B::bad", File: "tests/b.py", Message: "1 != 2"}}, 3},
		{"several suites and an error", `<testsuites><testsuite><testcase classname="a" name="x"><error>
   java.lang.Error: boom
   at a.X</error></testcase></testsuite><testsuite><testcase name="y"/></testsuite></testsuites>`,
			[]evidence.Test{{ID: "a::x", Message: "java.lang.Error: boom"}}, 2},
		{"both a failure and an error", `<testsuite><testcase name="x"><failure message="first"/><error message="second"/></testcase></testsuite>`, []evidence.Test{{ID: "x", Message: "first"}}, 1},
		{"another encoding and a secret", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><testsuite><testcase name=\"caf\xe9\"><failure message=\"password=hunter2hunter2\"/></testcase></testsuite>",
			[]evidence.Test{{ID: "caf", Message: "password=***"}}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, total, err := evidence.ParseJUnit(strings.NewReader(tt.report))
			if err != nil && !strings.Contains(tt.name, "encoding") {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if total != tt.wantTotal {
				t.Errorf("total %d, want %d", total, tt.wantTotal)
			}
		})
	}
}

func TestReportsThatAreNone(t *testing.T) {
	for name, report := range map[string]string{
		"empty": "", "HTML": "<html></html>", "deep": strings.Repeat("<testsuite>", 100), "cut off": `<testsuite><testcase name="x"><failure message="bad"/></testcase><testc`,
		"an entity bomb": `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuite><testcase name="&b;"></testsuite>`,
	} {
		tests, _, err := evidence.ParseJUnit(strings.NewReader(report))
		if err == nil && name != "an entity bomb" {
			t.Errorf("%s is read as a report", name)
		}
		if name == "cut off" && len(tests) != 1 {
			t.Errorf("what a report has before it breaks off is lost: %v", tests)
		}
	}
}

func TestAThousandFailures(t *testing.T) {
	var b strings.Builder
	b.WriteString("<testsuite>")
	for i := range 30_000 {
		fmt.Fprintf(&b, `<testcase name="t%d"><failure/></testcase>`, i)
	}
	b.WriteString("</testsuite>")
	tests, total, err := evidence.ParseJUnit(strings.NewReader(b.String()))
	if err != nil || total != 30_000 || len(tests) != 20_000 {
		t.Errorf("%d of %d, %v", len(tests), total, err)
	}
}

func FuzzParseJUnit(f *testing.F) {
	f.Add([]byte(`<testsuites><testsuite><testcase classname="a" name="x" file="f"><failure message="m">t</failure></testcase></testsuite></testsuites>`))
	f.Add([]byte(`<testsuite><testcase><error/></testcase>`))
	f.Fuzz(func(t *testing.T, report []byte) {
		tests, total, _ := evidence.ParseJUnit(strings.NewReader(string(report)))
		if len(tests) > total {
			t.Errorf("%d of %d failed", len(tests), total)
		}
	})
}
