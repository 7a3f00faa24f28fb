package evidence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
)

// Green is a digest of the log of a run that succeeded: a hash of each of its
// lines, with digits masked. A log of 3,000 different lines takes about 10 kB.
type Green struct {
	lines map[uint32]struct{}
	// full is true if the log had more different lines than are kept: then a
	// line that is missing here may still have been in the log.
	full bool
}

// greenLines bounds a digest: at most about 800 kB when stored.
const greenLines = 300_000

// ReadGreen makes the digest of a green log.
func ReadGreen(pass io.Reader) (*Green, error) {
	g := &Green{lines: map[uint32]struct{}{}}
	err := eachLine(pass, func(_ int, raw []byte) {
		h := uint32(lineHash(cleanLine(raw)))
		if len(g.lines) < greenLines {
			g.lines[h] = struct{}{}
		} else if _, known := g.lines[h]; !known {
			g.full = true
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read green log: %w", err)
	}
	return g, nil
}

// has reports whether the green log has a line like this one.
func (g *Green) has(text string) bool {
	if g == nil {
		return false
	}
	_, ok := g.lines[uint32(lineHash(text))]
	return ok
}

// complete reports whether a line that is not in the digest was not in the
// log.
func (g *Green) complete() bool { return g != nil && !g.full && len(g.lines) > 0 }

// The stored form: version, flags, the number of hashes, the differences of
// the sorted hashes as varints, CRC-32 of all this.
const (
	greenVersion = 1
	greenFull    = 1 << 0
)

var errGreen = errors.New("not a digest of a green log, or one of another version")

// MarshalBinary gives the form in which a digest is stored.
func (g *Green) MarshalBinary() ([]byte, error) {
	hashes := make([]uint32, 0, len(g.lines))
	for h := range g.lines {
		hashes = append(hashes, h)
	}
	slices.Sort(hashes)
	flags := byte(0)
	if g.full {
		flags = greenFull
	}
	out := binary.AppendUvarint([]byte{greenVersion, flags}, uint64(len(hashes)))
	last := uint32(0)
	for _, h := range hashes {
		out = binary.AppendUvarint(out, uint64(h-last))
		last = h
	}
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out)), nil
}

// UnmarshalBinary reads a stored digest. A damaged one, or one of another
// version, is an error: then the next green log makes a new one.
func (g *Green) UnmarshalBinary(data []byte) error {
	if len(data) < 7 || data[0] != greenVersion || data[1]&^greenFull != 0 {
		return errGreen
	}
	text, sum := data[:len(data)-4], data[len(data)-4:]
	if crc32.ChecksumIEEE(text) != binary.BigEndian.Uint32(sum) {
		return errGreen
	}
	rest := text[2:]
	count, n := binary.Uvarint(rest)
	if n <= 0 || count > greenLines || count > uint64(len(rest)) {
		return errGreen
	}
	rest = rest[n:]
	lines := make(map[uint32]struct{}, count)
	at := uint64(0)
	for i := range count {
		step, n := binary.Uvarint(rest)
		if n <= 0 || (step == 0 && i > 0) || step > 1<<32 || at+step >= 1<<32 {
			return errGreen
		}
		at += step
		lines[uint32(at)] = struct{}{}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return errGreen
	}
	g.lines, g.full = lines, text[1]&greenFull != 0
	return nil
}
