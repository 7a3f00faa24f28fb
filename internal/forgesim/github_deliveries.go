package forgesim

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func (s *Sim) githubListDeliveries(c *call, h *Hook) answer {
	return s.githubDeliveryPage(c, h.ID)
}

// githubDeliveryPage lists the deliveries of a hook (zero: the App's), newest
// first. Pages are by cursor: the id after which the next page begins.
func (s *Sim) githubDeliveryPage(c *call, hook int64) answer {
	q := c.r.URL.Query()
	var cursor int64
	if text := q.Get("cursor"); text != "" {
		cursor = parseID(strings.TrimPrefix(text, "v1_"))
		if cursor == 0 {
			return githubError(http.StatusBadRequest, "Invalid cursor")
		}
	}
	p := c.page(30, 100)
	docs := []object{}
	var last int64
	more := false
	for _, d := range s.newestFirst(GitHub, hook) {
		if cursor != 0 && d.ID >= cursor || !hasStatus(d, q.Get("status")) {
			continue
		}
		if len(docs) == p.size {
			more = true
			break
		}
		docs = append(docs, githubDeliveryItem(d))
		last = d.ID
	}
	a := ok(docs)
	if more {
		q.Set("cursor", fmt.Sprintf("v1_%d", last))
		q.Set("per_page", strconv.Itoa(p.size))
		a = a.with("Link", s.link(c, q, "next"))
	}
	return a
}

// hasStatus is the filter of GitHub's delivery log: a redirect counts as a
// success there, though its status is not OK.
func hasStatus(d *Delivery, status string) bool {
	code := githubCode(d)
	switch status {
	case "success":
		return code >= 200 && code < 400
	case "failure":
		return code >= 400
	}
	return true
}

// githubCode is the status code in GitHub's log: something even when nobody
// answered.
func githubCode(d *Delivery) int {
	switch {
	case d.StatusCode != 0:
		return d.StatusCode
	case d.Status == "timed out":
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// newestFirst lists a hook's deliveries by falling id.
func (s *Sim) newestFirst(provider string, hook int64) []*Delivery {
	var own []*Delivery
	for _, d := range s.state.Deliveries {
		if d.Provider == provider && d.HookID == hook {
			own = append(own, d)
		}
	}
	slices.SortFunc(own, func(a, b *Delivery) int { return int(b.ID - a.ID) })
	return own
}

func githubDeliveryItem(d *Delivery) object {
	doc := object{
		"id": d.ID, "guid": d.GUID, "delivered_at": githubTime(d.DeliveredAt), "redelivery": d.Redelivery,
		"duration": d.Duration, "status": d.Status, "status_code": githubCode(d), "event": d.Event, "action": nil,
		"installation_id": nil, "repository_id": nil, "throttled_at": nil,
	}
	if d.RepositoryID != 0 {
		doc["repository_id"] = d.RepositoryID
	}
	if d.Action != "" {
		doc["action"] = d.Action
	}
	if d.Installation != 0 {
		doc["installation_id"] = d.Installation
	}
	return doc
}

// deliveryOf finds the delivery that the path names among a hook's.
func (s *Sim) deliveryOf(c *call, provider string, hook int64) *Delivery {
	id := c.number("delivery")
	for _, d := range s.state.Deliveries {
		if d.Provider == provider && d.HookID == hook && d.ID == id {
			return d
		}
	}
	return nil
}

func (s *Sim) githubShowDelivery(c *call, h *Hook) answer { return s.githubDelivery(c, h.ID) }

func (s *Sim) githubDelivery(c *call, hook int64) answer {
	d := s.deliveryOf(c, GitHub, hook)
	if d == nil {
		return githubNotFound()
	}
	doc := githubDeliveryItem(d)
	doc["url"] = d.URL
	doc["request"] = object{"headers": d.Headers, "payload": d.Payload}
	doc["response"] = object{"headers": d.ResponseHeaders, "payload": d.ResponseBody}
	return ok(doc)
}

func (s *Sim) githubRedeliver(c *call, h *Hook) answer { return s.githubAttempt(c, h.ID) }

// githubAttempt sends a delivery again: 202 at once, the same GUID, a new id.
func (s *Sim) githubAttempt(c *call, hook int64) answer {
	d := s.deliveryOf(c, GitHub, hook)
	if d == nil {
		return githubNotFound()
	}
	again, err := s.repeat(d)
	if err != nil {
		return githubNotFound()
	}
	s.send([]*shipment{again})
	return answer{status: http.StatusAccepted, body: object{}}
}
