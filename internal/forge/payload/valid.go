package payload

import (
	"encoding/binary"
	"math/bits"
)

// deepest is how far objects and arrays may be nested; encoding/json stops at
// the same depth.
const deepest = 10_000

// IsObject reports whether doc is one JSON object and nothing else. It says
// what encoding/json's Valid says of objects, several times faster and without
// building anything: the receiver asks it about every delivery. Nesting costs
// a byte a level, not stack.
func IsObject(doc []byte) bool {
	c := checker{doc: doc}
	c.space()
	if c.peek() != '{' || !c.value() {
		return false
	}
	c.space()
	return c.i == len(c.doc)
}

// checker walks over a document. open are the brackets that are not closed.
type checker struct {
	doc  []byte
	i    int
	open []byte
}

// peek returns the byte at hand, 0 at the end. 0 is nowhere valid.
func (c *checker) peek() byte {
	if c.i < len(c.doc) {
		return c.doc[c.i]
	}
	return 0
}

func (c *checker) space() {
	for c.i < len(c.doc) {
		switch c.doc[c.i] {
		case ' ', '\n', '\r', '\t':
			c.i++
		default:
			return
		}
	}
}

// value walks over one value with all that is in it.
func (c *checker) value() bool {
	for {
		c.space()
		switch first := c.peek(); first {
		case '{', '[':
			if len(c.open) == deepest {
				return false
			}
			c.open = append(c.open, first)
			c.i++
			if c.space(); c.peek() == first+2 { // '}' and ']' follow their openers by two
				c.i++
				c.open = c.open[:len(c.open)-1]
			} else if first == '{' && !c.key() {
				return false
			} else {
				continue
			}
		default:
			if !c.scalar(first) {
				return false
			}
		}
		if more, ok := c.afterValue(); !ok || !more {
			return ok
		}
	}
}

// afterValue walks over what may follow a value: closing brackets, and a comma
// with, in objects, the next key. more means that a value comes next.
func (c *checker) afterValue() (more, ok bool) {
	for len(c.open) > 0 {
		c.space()
		top := c.open[len(c.open)-1]
		next := c.peek()
		c.i++
		switch next {
		case ',':
			return true, top == '[' || c.key()
		case top + 2:
			c.open = c.open[:len(c.open)-1]
		default:
			return false, false
		}
	}
	return false, true
}

func (c *checker) key() bool {
	c.space()
	if c.peek() != '"' || !c.str() {
		return false
	}
	c.space()
	if c.peek() != ':' {
		return false
	}
	c.i++
	return true
}

func (c *checker) scalar(first byte) bool {
	switch {
	case first == '"':
		return c.str()
	case first == '-' || first >= '0' && first <= '9':
		return c.number()
	case first == 't':
		return c.word("true")
	case first == 'f':
		return c.word("false")
	case first == 'n':
		return c.word("null")
	default:
		return false
	}
}

func (c *checker) word(w string) bool {
	if len(c.doc)-c.i < len(w) || string(c.doc[c.i:c.i+len(w)]) != w {
		return false
	}
	c.i += len(w)
	return true
}

// str walks over a string, eight bytes at a time.
func (c *checker) str() bool {
	for c.i++; c.i < len(c.doc); c.i++ {
		if len(c.doc)-c.i >= 8 {
			special := specials(binary.LittleEndian.Uint64(c.doc[c.i:]))
			if special == 0 {
				c.i += 7
				continue
			}
			c.i += bits.TrailingZeros64(special) / 8
		}
		switch b := c.doc[c.i]; {
		case b == '"':
			c.i++
			return true
		case b < ' ':
			return false
		case b == '\\' && !c.escape():
			return false
		}
	}
	return false
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// specials has the highest bit of a byte set where a byte of word is a quote, a
// backslash or below a blank. zero(x) has it set where a byte of x is zero; it
// may also have it right above one that is, so only the lowest counts.
func specials(word uint64) uint64 {
	zero := func(x uint64) uint64 { return (x - ones) &^ x & highs }
	below := (word - ones*' ') &^ word & highs
	return below | zero(word^ones*'"') | zero(word^ones*'\\')
}

// escape walks over a backslash and what it escapes, but for the last byte.
func (c *checker) escape() bool {
	c.i++
	switch c.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			c.i++
			if b := c.peek(); (b < '0' || b > '9') && (b|0x20 < 'a' || b|0x20 > 'f') {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// number walks over -? int frac? exp?.
func (c *checker) number() bool {
	if c.peek() == '-' {
		c.i++
	}
	if c.peek() == '0' {
		c.i++
	} else if !c.digits() {
		return false
	}
	if c.peek() == '.' {
		c.i++
		if !c.digits() {
			return false
		}
	}
	if c.peek()|0x20 == 'e' {
		c.i++
		if b := c.peek(); b == '+' || b == '-' {
			c.i++
		}
		return c.digits()
	}
	return true
}

func (c *checker) digits() bool {
	from := c.i
	for b := c.peek(); b >= '0' && b <= '9'; b = c.peek() {
		c.i++
	}
	return c.i > from
}
