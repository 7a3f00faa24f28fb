package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// Document is an answer of the API: what it means, and as it was sent.
type Document[T any] struct {
	Value T
	Raw   json.RawMessage
}

// MarshalJSON returns the document as it was sent.
func (d Document[T]) MarshalJSON() ([]byte, error) { return d.Raw, nil }

// one makes a request that a single document answers.
func one[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (Document[T], error) {
	raw, err := c.call(ctx, method, path, query, body)
	if err != nil {
		return Document[T]{}, err
	}
	d := Document[T]{Raw: raw}
	if json.Unmarshal(raw, &d.Value) != nil {
		return d, c.stranger()
	}
	return d, nil
}

// List is a list of the API, joined of as many of its pages as were asked for.
type List[T any] struct {
	Items []Document[T]
	// More is true when the server has more than was asked for.
	More   bool
	member string  // the name that the API gives to the list
	cursor *string // where the list goes on, after the last whole page
}

// MarshalJSON returns the list in the shape of one page of the API.
func (l List[T]) MarshalJSON() ([]byte, error) {
	items := l.Items
	if items == nil {
		items = []Document[T]{}
	}
	return json.Marshal(map[string]any{l.member: items, "next_cursor": l.cursor})
}

// largestPage is the API's limit.
const largestPage = 100

// list reads pages until there are limit items, or no more.
func list[T any](ctx context.Context, c *Client, path, member string, query url.Values, limit int) (List[T], error) {
	l := List[T]{member: member}
	for len(l.Items) < limit {
		query.Set("limit", strconv.Itoa(min(limit-len(l.Items), largestPage)))
		raw, err := c.call(ctx, http.MethodGet, path, query, nil)
		if err != nil {
			return l, err
		}
		var page map[string]json.RawMessage
		var items []json.RawMessage
		l.cursor = nil
		if json.Unmarshal(raw, &page) != nil || json.Unmarshal(page[member], &items) != nil {
			return l, c.stranger()
		}
		if next, there := page["next_cursor"]; there && json.Unmarshal(next, &l.cursor) != nil {
			return l, c.stranger()
		}
		for _, item := range items {
			d := Document[T]{Raw: item}
			if err := json.Unmarshal(item, &d.Value); err != nil {
				return l, fmt.Errorf("read %s of %s: %w", member, c.Server(), err)
			}
			l.Items = append(l.Items, d)
		}
		if l.cursor == nil {
			return l, nil
		}
		query.Set("cursor", *l.cursor)
	}
	l.More = l.cursor != nil
	return l, nil
}
