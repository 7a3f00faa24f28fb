package github

import (
	"archive/zip"
	"bytes"
	"testing"

	"github.com/devflowfix/devflowfix/internal/forge"
)

func TestWhichArtifactsHaveResultsOfTests(t *testing.T) {
	for name, want := range map[string]bool{
		"junit": true, "JUnit XML (1.26)": true, "test-results": true, "test_report-linux": true, "TestResults": true, "surefire-reports": true,
		"nextest": true, "tests": true, "coverage": false, "latest-build": false, "contest": false, "dist": false,
	} {
		if got := reportName.MatchString(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func zipped(tb testing.TB, files ...string) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err == nil {
			_, err = f.Write([]byte(files[i+1]))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestUnpackTakesXMLAlone(t *testing.T) {
	var report forge.TestReport
	room := int64(100)
	unpack(zipped(t, "a.xml", "<a/>", "page.html", "<html>", "deep/B.XML", "<b/>", "xml", "<c/>"), &report, &room)
	if len(report.Documents) != 2 || string(report.Documents[0]) != "<a/>" || string(report.Documents[1]) != "<b/>" || report.Truncated || room != 92 {
		t.Errorf("report = %q, %v, room %d", report.Documents, report.Truncated, room)
	}
}

// FuzzUnpack: no zip of a stranger unpacks to more than there is room for.
func FuzzUnpack(f *testing.F) {
	f.Add(zipped(f, "a.xml", "<testsuites/>", "b.xml", "<testsuite name=\"b\"></testsuite>"), int64(20))
	f.Add([]byte("PK\x05\x06"), int64(1))
	f.Fuzz(func(t *testing.T, packed []byte, room int64) {
		if room < 0 || room > 1<<20 {
			return
		}
		var report forge.TestReport
		left := room
		unpack(packed, &report, &left)
		var total int64
		for _, d := range report.Documents {
			total += int64(len(d))
		}
		if total+left != room || left < 0 || len(report.Documents) > reportDocuments {
			t.Errorf("%d bytes in %d documents, %d left of %d", total, len(report.Documents), left, room)
		}
	})
}
