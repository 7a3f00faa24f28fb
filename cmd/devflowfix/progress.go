package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// progress shows how far a long work is: a bar that moves on a terminal, else
// a line at times.
type progress struct {
	w      io.Writer
	moving bool
	told   map[string]int
	open   bool // a bar stands in the present line
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, moving: ok && term.IsTerminal(int(f.Fd())), told: map[string]int{}}
}

const barWidth = 30

// part tells how much of a part is done, in twenty lines at the most.
func (p *progress) part(name string, done, total int) {
	if p.moving {
		filled := barWidth
		if total > 0 {
			filled = min(barWidth*done/total, barWidth)
		}
		fmt.Fprintf(p.w, "\r%-14s [%s%s] %s/%s", name, strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), thousands(done), thousands(total))
		p.open = true
		if done >= total {
			p.end()
		}
		return
	}
	if done == total || done-p.told[name] >= total/20 {
		fmt.Fprintf(p.w, "%s %s/%s\n", name, thousands(done), thousands(total))
		p.told[name] = done
	}
}

// countEvery is after how many there is a line where nothing moves.
const countEvery = 10_000

// count tells how many are done of a work whose end nobody knows.
func (p *progress) count(name string, done int) {
	switch {
	case p.moving:
		fmt.Fprintf(p.w, "\r%s %s", thousands(done), name)
		p.open = true
	case done-p.told[name] >= countEvery:
		fmt.Fprintf(p.w, "%s %s\n", thousands(done), name)
		p.told[name] = done
	}
}

// end leaves the line of the bar.
func (p *progress) end() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}
