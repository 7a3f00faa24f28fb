package payload

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
)

// LongestLog is how many bytes of a log are read at the most to find its end.
const LongestLog = 512 << 20

// ErrTooLong means that a log has more than LongestLog bytes.
var ErrTooLong = errors.New("the log is too long to be read")

// Tail is a writer that keeps the end of what is written to it. It holds at
// most twice its limit.
type Tail struct {
	limit int
	total int64
	kept  []byte
}

// NewTail returns a writer that keeps the last limit bytes.
func NewTail(limit int64) *Tail { return &Tail{limit: int(limit)} }

// Write keeps p, and forgets what came long before. It fails with ErrTooLong
// when there is no end.
func (t *Tail) Write(p []byte) (int, error) {
	n := len(p)
	if t.total += int64(n); t.total > LongestLog {
		return 0, ErrTooLong
	}
	if n > t.limit {
		t.kept, p = t.kept[:0], p[n-t.limit:]
	}
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - 2*t.limit; over > 0 {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-t.limit:]...)
	}
	return n, nil
}

// Bytes returns the kept end. When something was cut off, it begins at the
// start of a line.
func (t *Tail) Bytes() []byte {
	kept := t.kept[max(0, len(t.kept)-t.limit):]
	if t.total > int64(len(kept)) {
		if i := bytes.IndexByte(kept, '\n'); i >= 0 {
			kept = kept[i+1:]
		}
	}
	return kept
}

// Open requests what is stored somewhere and returns it as a stream, or with
// another status than OK nothing. Its errors do not show the URL, which may be
// signed.
func Open(client *http.Client, request *http.Request) (io.ReadCloser, int, error) {
	response, err := client.Do(request)
	if err != nil {
		if hidden := (*url.Error)(nil); errors.As(err, &hidden) {
			err = hidden.Err
		}
		return nil, 0, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close() //nolint:errcheck // nobody reads it
		return nil, response.StatusCode, nil
	}
	return response.Body, response.StatusCode, nil
}

// Head is a stream that ends after limit bytes of another, which it closes.
func Head(stream io.ReadCloser, limit int64) io.ReadCloser {
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(stream, limit), stream}
}
