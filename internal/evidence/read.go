package evidence

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// How much of a log is kept while it is read: its first lines, its last lines,
// and in between the lines that look like failures, with what follows them. At lineBytes each this is at most
// 22 MB, however long the log is; the rest of a longer log is dropped.
const (
	keepFirst  = 4_000
	keepLast   = 12_000
	keepMarked = 6_000
	keepAfter  = 12
)

// line is a line of the log that was kept.
type line struct {
	number  int    // from 1; see eachLine
	text    string // cleaned
	known   bool   // the green log has it
	suspect bool   // it has a word of failures
}

// keeper collects the lines of a log within bounds.
type keeper struct {
	first, marked []line
	last          []line // a ring once it is full
	next          int    // where the ring goes on
	after         int    // lines yet to keep after one that looks like a failure
}

func (k *keeper) add(l line) {
	if len(k.first) < keepFirst {
		k.first = append(k.first, l)
		return
	}
	if len(k.last) < keepLast {
		k.last = append(k.last, l)
	} else {
		k.leave(k.last[k.next])
		k.last[k.next] = l
		k.next = (k.next + 1) % keepLast
	}
}

// leave decides about a line that falls out of the ring of last lines.
func (k *keeper) leave(l line) {
	if len(k.marked) >= keepMarked {
		return
	}
	if l.suspect && !l.known {
		k.after = keepAfter
		k.marked = append(k.marked, l)
	} else if k.after > 0 {
		k.after--
		k.marked = append(k.marked, l)
	}
}

func (k *keeper) lines() []line {
	all := append(k.first, k.marked...)
	all = append(all, k.last[k.next:]...)
	return append(all, k.last[:k.next]...)
}

// read keeps the lines of a log that matter. An error of the reader ends the
// log where it happens, if something has been read before: the end of a stream
// that breaks is missing, what came explains what it can.
func read(log io.Reader, green *Green) ([]line, error) {
	var k keeper
	err := eachLine(log, func(number int, raw []byte) {
		l := line{number: number, text: cleanLine(raw)}
		l.suspect = isSuspect(l.text)
		l.known = green.has(l.text)
		k.add(l)
	})
	lines := k.lines()
	if err != nil && len(lines) == 0 {
		return nil, err
	}
	return lines, nil
}

// eachLine calls visit with every line of a text, cut at lineBytes. Lines are
// counted as editors and the terminals of the forges count them: they end in
// "\n", "\r\n" or "\r". Of what a tool wrote over itself by returning to the
// start of the line only the last is visited, under its own number. The bytes
// are only valid during the call.
func eachLine(text io.Reader, visit func(number int, raw []byte)) error {
	r := bufio.NewReaderSize(text, 64<<10)
	l := screenLine{number: 1, first: 1, text: make([]byte, 0, lineBytes)}
	for {
		part, err := r.ReadSlice('\n')
		ended := len(part) > 0 && part[len(part)-1] == '\n'
		l.write(bytes.TrimSuffix(part, []byte("\n")))
		if ended || (err != nil && !errors.Is(err, bufio.ErrBufferFull) && l.written) {
			visit(l.number, l.text)
			l.next()
		}
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

// screenLine is what stands on the screen between two "\n".
type screenLine struct {
	text    []byte
	number  int // of the text
	first   int // of what follows the last "\n"
	returns int // since then
	written bool
	// returned is true if the last byte was "\r": what comes next writes over
	// the text, unless it is the end of the line.
	returned bool
}

func (l *screenLine) write(part []byte) {
	for len(part) > 0 {
		l.written = true
		piece, rest, returns := bytes.Cut(part, []byte("\r"))
		if len(piece) > 0 {
			if l.returned {
				l.text, l.number = l.text[:0], l.first+l.returns
			}
			l.returned = false
			l.text = append(l.text, piece[:min(len(piece), lineBytes-len(l.text))]...)
		}
		if returns {
			l.returns++
			l.returned = true
		}
		part = rest
	}
}

func (l *screenLine) next() {
	l.first += l.returns + 1
	if l.returned {
		l.first-- // "\r\n" ends one line
	}
	*l = screenLine{text: l.text[:0], number: l.first, first: l.first}
}

// Words of lines that may tell of a failure, in lower case.
var suspicious = []string{"error", "fail", "fatal", "panic", "exception", "denied", "killed", "err!", "not found", "no such", "cannot", "unable", "could not", "timed out", "timeout", "exit code", "no space", "traceback", "undefined", "conflict", "refused", "abort", "caused", "✕", "✗", "✖", "●", "❌", "not ok", "reject", "invalid", "missing", "segmentation", "unsafe repo", "dubious", "unauthorized", "lost commun", "shutdown signal", "diff in", "reformat"}

func isSuspect(text string) bool {
	return containsAny(strings.ToLower(text), suspicious)
}
