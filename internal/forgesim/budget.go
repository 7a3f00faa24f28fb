package forgesim

import (
	"net/http"
	"strconv"
	"time"
)

// budget counts the API requests of a window of time.
type budget struct {
	limit int
	used  int
	reset time.Time // when the next window begins
	over  bool      // this request is one too many
}

func (b budget) remaining() int { return max(0, b.limit-b.used) }

// spend takes a request from a forge's budget. A budget that is not enforced
// never shows that nothing remains, because clients stop by themselves then.
func (s *Sim) spend(provider string) budget {
	b := s.budgets[provider]
	if now := s.now(); !now.Before(b.reset) {
		window := time.Hour
		b = budget{limit: 5000}
		if provider == GitLab {
			window, b.limit = time.Minute, 2000
		}
		b.reset = now.Truncate(window).Add(window)
		if s.cfg.RateLimit > 0 {
			b.limit = s.cfg.RateLimit
		}
	}
	b.over = s.cfg.RateLimit > 0 && b.used >= b.limit
	if s.cfg.RateLimit > 0 || b.used < b.limit-1 {
		b.used++
	}
	s.budgets[provider] = b
	return b
}

// points are what one token spent of GitHub's secondary limit lately.
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
type points struct {
	spent []spent // within the last minute
	sum   int
	peak  int // the most that was spent within a minute
}

type spent struct {
	at   time.Time
	cost int
}

// cost is what a request costs.
func cost(method string) int {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return 1
	}
	return 5
}

// spendPoints takes a request from its token's points, or says how long it is
// until there are enough.
func (s *Sim) spendPoints(r *http.Request) time.Duration {
	token, now := r.Header.Get("Authorization"), s.now()
	p := s.points[token]
	if p == nil {
		p = &points{}
		s.points[token] = p
	}
	for len(p.spent) > 0 && now.Sub(p.spent[0].at) >= time.Minute {
		p.sum -= p.spent[0].cost
		p.spent = p.spent[1:]
	}
	c := cost(r.Method)
	if s.cfg.PointsPerMinute > 0 && len(p.spent) > 0 && p.sum+c > s.cfg.PointsPerMinute {
		return p.spent[0].at.Add(time.Minute).Sub(now)
	}
	p.spent = append(p.spent, spent{now, c})
	p.sum += c
	p.peak = max(p.peak, p.sum)
	return 0
}

// PeakPoints is the most that one token has spent of GitHub's secondary limit
// within a minute.
func (s *Sim) PeakPoints() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	peak := 0
	for _, p := range s.points {
		peak = max(peak, p.peak)
	}
	return peak
}

// githubTooFast is GitHub's answer to who has no points left.
func githubTooFast(wait time.Duration) answer {
	a := answer{status: http.StatusForbidden, body: object{
		"message":           "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
		"documentation_url": githubDocs + "/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits",
		"status":            "403",
	}}
	return a.with("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
}
