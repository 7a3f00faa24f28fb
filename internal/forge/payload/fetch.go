package payload

import (
	"errors"
	"io"
	"net/http"
	"net/url"
)

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
