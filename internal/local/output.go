package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

const tailBytes, tailLines = 4096, 12

// openOutput opens the file that a server writes to, empty; what it wrote in
// its last life is kept beside it as path.old.
func openOutput(path string) (*os.File, error) {
	if err := os.Rename(path, path+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// tail returns the last lines of the file at path, or "" when it has none.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		if _, err := f.Seek(-tailBytes, io.SeekEnd); err != nil {
			return ""
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// endedEarly is the error for a server that ended with cause before it was of
// use; it shows the last lines of what the server wrote to path.
func endedEarly(program string, cause error, path string) error {
	if cause == nil {
		cause = errors.New("exit status 0")
	}
	return fmt.Errorf("%s ended at once: %w; the end of %s:\n%s", program, cause, path, tail(path))
}
