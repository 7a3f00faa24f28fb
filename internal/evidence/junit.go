package evidence

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of a test report: its bytes, how deep its elements are nested, the
// failed tests that are kept of it, and what is kept of a test's name and
// message.
const (
	reportBytes   = 256 << 20
	reportDepth   = 64
	reportTests   = 20_000
	reportName    = 500
	reportMessage = 500
)

// ParseJUnit reads a JUnit XML report, of one or several suites, and gives the
// tests that failed or ended in an error, and how many there are in all. Of
// more than 20,000 failed tests the rest is only counted. A report that breaks
// off, because the job was killed while it was written, gives what it has
// before, along with the error.
func ParseJUnit(report io.Reader) (failed []Test, total int, err error) {
	p := junit{decoder: xml.NewDecoder(&bounded{r: report, left: reportBytes})}
	// Reports come in all encodings, and with the entities of HTML; names in
	// ASCII are read all the same.
	p.decoder.Strict = false
	p.decoder.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	for {
		token, err := p.decoder.Token()
		if errors.Is(err, io.EOF) && p.depth == 0 {
			if !p.isReport {
				return nil, 0, errNoReport
			}
			return p.failed, p.total, nil
		}
		if err != nil {
			return p.failed, p.total, fmt.Errorf("read JUnit report: %w", err)
		}
		if err := p.take(token); err != nil {
			return p.failed, p.total, fmt.Errorf("read JUnit report: %w", err)
		}
	}
}

var (
	errNoReport     = errors.New("read JUnit report: no testsuite in it")
	errReportDeep   = fmt.Errorf("elements are nested more than %d deep", reportDepth)
	errReportTooBig = fmt.Errorf("it is larger than %d MB", reportBytes>>20)
)

// junit is the state of reading a report.
type junit struct {
	decoder  *xml.Decoder
	failed   []Test
	total    int
	depth    int
	isReport bool

	test      *Test // the one whose element is open
	isFailed  bool
	inMessage bool // in a failure without a message attribute
	text      strings.Builder
}

func (p *junit) take(token xml.Token) error {
	switch t := token.(type) {
	case xml.StartElement:
		p.depth++
		if p.depth > reportDepth {
			return errReportDeep
		}
		p.start(t)
	case xml.EndElement:
		p.depth--
		p.end(t.Name.Local)
	case xml.CharData:
		if p.inMessage && p.text.Len() < reportMessage {
			p.text.Write(t[:min(len(t), reportMessage)])
		}
	}
	return nil
}

func (p *junit) start(t xml.StartElement) {
	switch t.Name.Local {
	case "testsuites", "testsuite":
		p.isReport = true
	case "testcase":
		p.total++
		p.isFailed = false
		file, class, name := attribute(t, "file"), attribute(t, "classname"), attribute(t, "name")
		p.test = &Test{ID: joinID(repoFile(file), class, name), File: repoFile(file)}
	case "failure", "error":
		if p.test == nil || p.isFailed {
			return
		}
		p.isFailed = true
		p.test.Message = shown(firstLine(attribute(t, "message")))
		p.inMessage = p.test.Message == ""
		p.text.Reset()
	}
}

func (p *junit) end(name string) {
	switch name {
	case "failure", "error":
		if p.inMessage && p.test != nil {
			p.test.Message = shown(firstLine(strings.ToValidUTF8(p.text.String(), "\uFFFD")))
		}
		p.inMessage = false
	case "testcase":
		if p.test != nil && p.isFailed && len(p.failed) < reportTests {
			p.failed = append(p.failed, *p.test)
		}
		p.test = nil
	}
}

// NewTest is a failed test as a report names it that is no JUnit document.
func NewTest(file, class, name, message string) Test {
	clean := func(s string) string { return MaskSecrets(strings.ToValidUTF8(s[:min(len(s), reportName)], "")) }
	file = repoFile(clean(file))
	return Test{ID: joinID(file, clean(class), clean(name)), File: file, Message: shown(firstLine(clean(message)))}
}

// joinID names a test as file::class::name, as far as these are known.
func joinID(parts ...string) string {
	var known []string
	for _, part := range parts {
		if part != "" {
			known = append(known, part)
		}
	}
	return strings.Join(known, "::")
}

func attribute(t xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Local == name {
			return MaskSecrets(strings.ToValidUTF8(a.Value[:min(len(a.Value), reportName)], ""))
		}
	}
	return ""
}

// bounded is a reader that fails after a number of bytes.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errReportTooBig
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
