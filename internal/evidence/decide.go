package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// nearEnd is how far from the end of the failed step a message counts more
// than earlier ones: what a program said long before it went on.
const nearEnd = 150

// decide finds the headline, the category and the key.
func (l *log) decide(o Options) Explanation {
	e := Explanation{Category: CategoryUnknown}
	tests := l.tests(o)
	e.FailedTests = len(tests)
	for _, t := range tests[:min(len(tests), maxTests)] {
		e.Tests = append(e.Tests, t.ID)
	}
	decisive := l.decisive()
	e.Files = l.files(tests)
	switch {
	case decisive != nil && decisive.rule.Kind == kindCause:
		e.fromRule(l, decisive)
	case len(tests) > 0:
		e.fromTests(l, tests, o, decisive)
	case decisive != nil:
		e.fromRule(l, decisive)
	case saysSomething(o.Reason):
		e.fromReason(o)
	default:
		e.fromMessages(l)
	}
	if e.Key == "" {
		e.fromJob(o)
	}
	e.Infra = e.Category.Infrastructure()
	e.Headline = headline(e.Headline)
	return e
}

// decisive is the match that explains the failure: in the failed step before
// elsewhere, then by kind, then by the order of the rules, then the first, or
// of messages the last.
func (l *log) decisive() *match {
	var best *match
	for _, m := range l.fired {
		if m == nil || m.rule.Kind == kindSummary {
			continue
		}
		if best == nil || l.before(m, best) {
			best = m
		}
	}
	return best
}

func (l *log) before(a, b *match) bool {
	if x, y := l.rank(a), l.rank(b); x != y {
		return x < y
	}
	if a.rule.order != b.rule.order {
		return a.rule.order < b.rule.order
	}
	return a.rule.Kind == kindMessage && a.at > b.at
}

// rank is the lower the earlier a match decides.
func (l *log) rank(m *match) int {
	if m.rule.Kind == kindCause {
		return 0
	}
	rank := 1
	if m.at < l.from || m.at > l.to {
		rank += 10
	}
	switch m.rule.Kind {
	case kindTest:
		if m.captures["test"] == "" {
			rank++
		}
	case kindDiagnostic:
		rank += 2
	default:
		rank += 3
		if m.at < l.to-nearEnd {
			rank++
		}
	}
	return rank
}

// tests are those of the report, or else those that the log names.
func (l *log) tests(o Options) []Test {
	if len(o.Tests) > 0 {
		return o.Tests
	}
	var tests []Test
	seen := map[string]int{}
	for _, m := range l.fired {
		if m == nil || m.rule.Kind != kindTest || m.captures["test"] == "" {
			continue
		}
		t := Test{ID: MaskSecrets(testID(m.captures)), File: m.captures["file"], Message: shown(m.captures["message"])}
		if i, ok := seen[t.ID]; ok {
			if tests[i].Message == "" {
				tests[i].Message = t.Message
			}
			continue
		}
		seen[t.ID] = len(tests)
		tests = append(tests, t)
	}
	return withoutDoubles(tests)
}

// lastName is what a longer name of a test ends with: crate::mod name.
var lastName = regexp.MustCompile(`(?:^|.*(?: |::|\.|> ))([^ :.>]+)$`)

// withoutDoubles leaves out what stands for a test that is there by itself:
// the same test under a shorter name, the test whose subtest failed, the file
// whose test failed.
func withoutDoubles(tests []Test) []Test {
	double := map[string]bool{}
	for _, t := range tests {
		if short := lastName.FindStringSubmatch(t.ID); short != nil && short[1] != t.ID {
			double[short[1]] = true
		}
		for i := strings.LastIndexByte(t.ID, '/'); i > 0; i = strings.LastIndexByte(t.ID[:i], '/') {
			double[t.ID[:i]] = true
		}
		if t.File != t.ID {
			double[t.File] = true
		}
	}
	return slices.DeleteFunc(tests, func(t Test) bool { return double[t.ID] })
}

var testPosition = regexp.MustCompile(`(\.\w+):\d+(?::\d+)?`)

// testID is the name of a test without the line at which it stands.
func testID(captures map[string]string) string {
	id := captures["test"]
	if name := captures["name"]; name != "" {
		id = captures["file"] + " " + name
	}
	if p := captures["package"]; p != "" {
		id = p + "." + id
	}
	return strings.TrimSpace(testPosition.ReplaceAllString(stripRoot(id), "$1"))
}

// A run in which many tests fail has one cause: more than manyTests, or
// manyShare of all, if that is several.
const (
	manyTests    = 20
	manyShare    = 0.8
	severalTests = 3
)

func (e *Explanation) fromTests(l *log, tests []Test, o Options, decisive *match) {
	e.Category, e.Rule = CategoryTest, ruleReport
	if len(o.Tests) == 0 && decisive != nil {
		e.Rule = decisive.rule.ID
		if decisive.rule.Kind == kindTest {
			e.Category = decisive.rule.Category
		}
	}
	many := len(tests) > manyTests || (o.TotalTests > 0 && len(tests) >= severalTests && float64(len(tests)) >= manyShare*float64(o.TotalTests))
	if many {
		if message := l.sharedMessage(tests); message != "" {
			e.Headline = counted(len(tests), "tests failed") + ", most with: " + message
			e.key("tests", High, mask(message))
			return
		}
	}
	first := slices.MinFunc(tests, func(a, b Test) int { return strings.Compare(a.ID, b.ID) })
	e.Headline = first.ID + " failed"
	if first.Message != "" {
		e.Headline += ": " + first.Message
	}
	if len(tests) > 1 {
		e.Headline = counted(len(tests), "tests failed") + ": " + e.Headline
	}
	e.key("test", High, mask(first.ID), mask(firstLine(first.Message)))
}

// sharedMessage is the first message that most failed tests have, or else the
// first that the log has of a setup that failed.
func (l *log) sharedMessage(tests []Test) string {
	count := map[string]int{}
	best, most := "", 0
	for _, t := range tests {
		if t.Message == "" {
			continue
		}
		m := mask(firstLine(t.Message))
		if count[m]++; count[m] == 1 && best == "" {
			best = t.Message
		}
		if count[m] > most {
			most = count[m]
			if most > 1 {
				best = t.Message
			}
		}
	}
	if best != "" {
		return firstLine(best)
	}
	for i, m := range l.fired {
		if m != nil && m.rule.ID == "assertion" {
			return shown(body(l.lines[i].text))
		}
	}
	return ""
}

func (e *Explanation) fromRule(l *log, m *match) {
	e.Category, e.Rule = m.rule.Category, m.rule.ID
	text := shown(body(l.lines[m.at].text))
	e.Headline = text
	if file := m.captures["file"]; m.rule.Kind == kindDiagnostic && m.captures["message"] != "" {
		e.Headline = m.captures["message"]
		if file != "" {
			e.Headline = file + ": " + e.Headline
		}
		if code := m.captures["code"]; code != "" {
			e.Headline += " (" + code + ")"
		}
	}
	parts, named := captured(m)
	switch {
	case !named:
		e.keyMessage(m.rule.ID, mask(text))
	case m.rule.Category == CategoryUnknown && len(parts) == 1 && m.captures["message"] != "":
		e.keyMessage(append([]string{m.rule.ID}, parts...)...)
	case m.rule.Kind == kindDiagnostic:
		e.key("diagnostic", High, append([]string{m.rule.ID}, parts...)...)
	default:
		e.key("rule", High, append([]string{m.rule.ID}, parts...)...)
	}
}

// captured are the masked captures of a match in a fixed order.
func captured(m *match) (parts []string, named bool) {
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range m.captures {
			if name != "line" && name != "import" && !yield(name) {
				return
			}
		}
	}) {
		if value := mask(m.captures[name]); strings.Trim(value, "#<>…/. ") != "" {
			parts = append(parts, value)
			named = true
		}
	}
	return parts, named
}

// keyMessage keys on a masked message, if there is anything in it.
func (e *Explanation) keyMessage(parts ...string) {
	e.key("message", Medium, parts...)
}

// fromMessages keys on the first lines that look like failures.
func (e *Explanation) fromMessages(l *log) {
	e.Rule = ruleTail
	if l.green {
		e.Rule = ruleGreen
	}
	const most = 3
	var block []string
	for i := max(0, l.from); i <= l.to && len(block) < most; i++ {
		text := body(l.lines[i].text)
		if l.lines[i].known || isNoise(text) || !l.lines[i].suspect || isBoilerplate(text) {
			continue
		}
		if e.Headline == "" {
			e.Headline = shown(text)
		}
		if m := mask(text); strings.Trim(m, "#<>…/. ") != "" {
			block = append(block, m)
		}
	}
	if len(block) > 0 {
		e.keyMessage(block...)
	}
}

// reasons are GitLab's failure_reason (commit_status.rb) and GitHub's
// conclusions that say more than that the job failed.
var reasons = map[string]Category{
	"timed_out": CategoryTimeout, "job_execution_timeout": CategoryTimeout, "stuck_or_timeout_failure": CategoryTimeout,
	"startup_failure": CategoryConfig, "missing_dependency_failure": CategoryConfig, "unmet_prerequisites": CategoryConfig,
	"pipeline_loop_detected": CategoryConfig, "builds_disabled": CategoryConfig, "project_deleted": CategoryConfig,
	"invalid_bridge_trigger": CategoryConfig, "downstream_bridge_project_not_found": CategoryConfig,
	"runner_system_failure": CategoryRunner, "api_failure": CategoryRunner, "scheduler_failure": CategoryRunner,
	"stale_schedule": CategoryRunner, "runner_unsupported": CategoryRunner, "no_matching_runner": CategoryRunner,
	"data_integrity_failure": CategoryRunner, "archived_failure": CategoryRunner,
	"ci_quota_exceeded": CategoryQuota, "trace_size_exceeded": CategoryQuota,
	"secrets_provider_not_found": CategorySecret, "user_blocked": CategoryPermission,
	"protected_environment_failure": CategoryPermission, "insufficient_bridge_permissions": CategoryPermission,
}

func saysSomething(reason string) bool {
	switch reason {
	case "", "failure", "script_failure", "failed", "unknown_failure", "cancelled", "success":
		return false
	}
	return true
}

func (e *Explanation) fromReason(o Options) {
	e.Rule = ruleProvider
	if c, known := reasons[o.Reason]; known {
		e.Category = c
	}
	e.Headline = "The forge ended the job: " + strings.ReplaceAll(o.Reason, "_", " ")
	e.key("provider", Medium, o.Reason, o.Workflow, SignalName(o.Job))
}

// fromJob is the last resort: nothing is known but which job failed, and where.
func (e *Explanation) fromJob(o Options) {
	if e.Rule == "" {
		e.Rule = ruleTail
	}
	e.Specificity = Low
	if e.Headline == "" {
		e.Headline = "The job failed without saying why"
		if o.Step != "" {
			e.Headline = "Step " + o.Step + " failed without saying why"
		}
	}
	e.Fingerprint, e.Key = fingerprint("job", o.Workflow, SignalName(o.Job), o.Step)
}

// key sets the fingerprint, unless all that it would be made of is empty.
func (e *Explanation) key(kind string, s Specificity, parts ...string) {
	if strings.Join(parts, "") == "" {
		return
	}
	e.Specificity = s
	e.Fingerprint, e.Key = fingerprint(kind, parts...)
}

const fingerprintVersion = "fp1"

// fingerprint hashes a readable key: the kind and its parts, one a line.
func fingerprint(kind string, parts ...string) (print, key string) {
	key = kind + "\n" + strings.Join(parts, "\n")
	sum := sha256.Sum256([]byte(fingerprintVersion + "\n" + key))
	return fingerprintVersion + ":" + kind + ":" + hex.EncodeToString(sum[:16]), key
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
