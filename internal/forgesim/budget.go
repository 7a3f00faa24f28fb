package forgesim

import "time"

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
