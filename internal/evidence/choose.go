package evidence

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

const (
	maxShown = 40
	// maxBest bounds the lines that explain a failure without a green log;
	// with one, maxBlock bounds the new lines around errors.
	maxBest  = 30
	maxBlock = 2_000
)

// choose fills Lines and Best.
func (l *log) choose(e *Explanation) {
	var best []int
	if l.green {
		best = l.newBlocks()
	}
	if len(best) == 0 {
		best = l.ranked()
	}
	if len(best) == 0 {
		best = l.tail()
	}
	for _, at := range best {
		e.Best = append(e.Best, l.lines[at].number)
	}
	toShow := slices.Clone(best[:min(len(best), maxShown)])
	slices.Sort(toShow)
	for _, at := range toShow {
		line := l.lines[at]
		e.Lines = append(e.Lines, Line{
			Number: line.number, Text: shown(line.text),
			Error: l.fired[at] != nil || (line.suspect && !line.known && !isNoise(body(line.text))),
			New:   l.green && !line.known,
		})
	}
}

// tail is what is left to show of a log in which nothing looks like a failure.
func (l *log) tail() []int {
	const lines = 20
	var found []int
	for at := l.to; at >= 0 && len(found) < lines; at-- {
		if text := body(l.lines[at].text); text != "" && !isNoise(text) {
			found = append(found, at)
		}
	}
	return found
}

// Points of a line, by which lines are ranked without a green log. They put
// what names the failure first, then counts and the end of the step, then what
// stands beside.
var points = map[kind]int{kindCause: 100, kindTest: 70, kindDiagnostic: 70, kindMessage: 60, kindSummary: 50}

const (
	pointsDecisive = 120
	pointsExit     = 62
	pointsSuspect  = 30
	pointsCommand  = 45 // what the step ran
	pointsBeside   = 35
	pointsEnd      = 38
	outsideStep    = 30  // less for lines outside of the failed step
	repeatedRule   = 7   // less for each line before of the same rule
	perRule        = 200 // lines of one rule that are looked at
	besideLines    = 3
	endOfStepLines = 8
)

// tells matches lines with a word in them; rules and frames tell nothing.
var tells = regexp.MustCompile(`\pL{2}|\d{2}`)

// ranked gives the lines that explain best, without those that only repeat.
func (l *log) ranked() []int {
	score := map[int]int{}
	byRule, seen := map[string]int{}, map[string]bool{}
	raise := func(at, points int) {
		if at < 0 || at >= len(l.lines) || !tells.MatchString(l.lines[at].text) {
			return
		}
		if at < l.from || at > l.to {
			points -= outsideStep
		}
		score[at] = max(score[at], points)
	}
	for _, at := range l.inOrder() {
		text := body(l.lines[at].text)
		key := mask(text)
		if seen[key] {
			continue
		}
		seen[key] = true
		m := l.fired[at]
		if m == nil {
			raise(at, pointsSuspect-byRule[""]/2)
			byRule[""]++
			continue
		}
		p := points[m.rule.Kind] - min(repeated(m.rule.Kind)*byRule[m.rule.ID], 45)
		byRule[m.rule.ID]++
		if m.rule.ID == "exit" && isBoilerplate(l.lines[at].text) {
			p = pointsExit
		}
		raise(at, p)
		if m.rule.Kind != kindSummary && byRule[m.rule.ID] <= besideLines {
			l.raiseBeside(at, raise)
		}
	}
	if m := l.decisive(); m != nil {
		raise(m.at, pointsDecisive)
	}
	if len(score) > 0 && strings.HasPrefix(l.lines[l.from].text, "##[group]") {
		raise(l.from, pointsCommand)
	}
	for at, n := l.to, 0; at >= l.from && at >= 0 && n < endOfStepLines; at-- {
		text := body(l.lines[at].text)
		if text == "" || isNoise(text) {
			continue
		}
		if key := mask(text); !seen[key] {
			seen[key] = true
			raise(at, pointsEnd-n)
		}
		n++
	}
	best := make([]int, 0, len(score))
	for at := range score {
		best = append(best, at)
	}
	slices.SortFunc(best, func(a, b int) int { return cmp.Or(score[b]-score[a], a-b) })
	return best[:min(len(best), maxBest)]
}

// repeated is by how much each line of a rule counts less than the one before.
func repeated(k kind) int {
	if k == kindSummary {
		return repeatedRule / 2
	}
	return repeatedRule
}

// inOrder are the lines that may explain, those of each rule in an order of
// their own: the first two, since the first error is often the cause, the last,
// which is often the sum, then the rest.
func (l *log) inOrder() []int {
	byRule := map[string][]int{}
	var names []string
	for at, line := range l.lines {
		name := ""
		if m := l.fired[at]; m != nil {
			name = m.rule.ID
		} else if !line.suspect || line.known || at < l.from || at > l.to || isNoise(body(line.text)) {
			continue
		}
		if len(byRule[name]) == 0 {
			names = append(names, name)
		}
		byRule[name] = append(byRule[name], at)
	}
	// Lines without a rule come last: among them are those that repeat others.
	names = append(slices.DeleteFunc(names, func(name string) bool { return name == "" }), "")
	var order []int
	for _, name := range names {
		lines := byRule[name]
		if n := len(lines); n > 3 {
			order = append(order, lines[0], lines[1], lines[n-1])
			lines = lines[2 : n-1]
		}
		order = append(order, lines[:min(len(lines), perRule)]...)
	}
	return order
}

// raiseBeside lifts the lines that belong to one that a rule found: those that
// the rule looked at, and the next ones.
func (l *log) raiseBeside(at int, raise func(at, points int)) {
	for i := at + 1; i <= min(at+besideLines, len(l.lines)-1); i++ {
		if text := body(l.lines[i].text); text != "" && !isNoise(text) {
			raise(i, pointsBeside-(i-at))
		}
	}
	for _, n := range l.fired[at].rule.Near {
		for i := at - 1; i >= max(0, at-n.Before); i-- {
			if n.regex.MatchString(body(l.lines[i].text)) {
				raise(i, pointsBeside+10)
				return
			}
		}
		for i := at + 1; i < min(len(l.lines), at+1+n.After); i++ {
			if n.regex.MatchString(body(l.lines[i].text)) {
				raise(i, pointsBeside+10)
				return
			}
		}
	}
}

// How far apart new lines may stand that belong together, and how far from an
// error a new line belongs to it.
const (
	blockGap   = 2
	blockLead  = 12
	blockTrail = 400
)

// newBlocks gives the lines that the green log lacks, in the blocks that hold
// an error: the stack trace below an exception, what a tool printed before it
// gave up. The block with the best line comes first.
func (l *log) newBlocks() []int {
	chosen := map[int]int{}
	var start, end, last int = -1, -1, -1
	flush := func() {
		if start >= 0 {
			l.takeBlock(start, end, chosen)
		}
		start = -1
	}
	for at, line := range l.lines {
		if at > l.to {
			break
		}
		if !l.belongs(at, line) {
			continue
		}
		if start >= 0 && at-last > blockGap+1 {
			flush()
		}
		if start < 0 {
			start = at
		}
		end, last = at, at
	}
	flush()
	best := make([]int, 0, len(chosen))
	for at := range chosen {
		best = append(best, at)
	}
	slices.SortFunc(best, func(a, b int) int { return cmp.Or(chosen[b]-chosen[a], a-b) })
	return best[:min(len(best), maxBlock)]
}

// mavenMark is what Maven puts before each line of its last words.
var mavenMark = regexp.MustCompile(`^\[ERROR\]`)

// belongs reports whether a line may be part of a block: it is new, and no
// noise.
func (l *log) belongs(at int, line line) bool {
	text := body(line.text)
	if text == "" || isNoise(text) {
		return false
	}
	// What Maven says at the end of every failure may be known from tests of
	// Maven builds; it belongs to the new lines before.
	return !line.known || (mavenMark.MatchString(text) && at > 0 && mavenMark.MatchString(body(l.lines[at-1].text)))
}

// takeBlock chooses the lines from start to end that belong to an error in
// them, with the empty lines between.
func (l *log) takeBlock(start, end int, chosen map[int]int) {
	first, lastError, top := -1, -1, 0
	for at := start; at <= end; at++ {
		if p := l.pointsOf(at); p > 0 {
			if first < 0 {
				first = at
			}
			lastError, top = at, max(top, p)
		}
	}
	if first < 0 {
		return
	}
	for at := max(start, first-blockLead); at <= min(end, lastError+blockTrail); at++ {
		text := body(l.lines[at].text)
		if isNoise(text) {
			continue
		}
		chosen[at] = top*1_000 + l.pointsOf(at)
	}
}

// pointsOf says how much a new line tells by itself; 0 for one that only
// belongs to others.
func (l *log) pointsOf(at int) int {
	line := l.lines[at]
	if line.known {
		return 0
	}
	if m := l.fired[at]; m != nil {
		return points[m.rule.Kind]
	}
	if line.suspect {
		return pointsSuspect
	}
	return 0
}
