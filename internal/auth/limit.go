package auth

import (
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"github.com/devflowfix/devflowfix/internal/fault"
)

// Limits bounds how often an address may do what guessers do: fail to log in,
// begin logins, spend refresh tokens. It is kept in each process, for as many
// addresses as memory allows.
type Limits struct {
	each    rate.Limit
	burst   int
	buckets *otter.Cache[string, *rate.Limiter]
}

const (
	limitedAddresses = 50_000
	limitForgets     = 10 * time.Minute
)

// NewLimits allows burst at once and then each per second.
func NewLimits(each rate.Limit, burst int) *Limits {
	return &Limits{each: each, burst: burst, buckets: otter.Must(&otter.Options[string, *rate.Limiter]{
		MaximumSize: limitedAddresses, ExpiryCalculator: otter.ExpiryAccessing[string, *rate.Limiter](limitForgets),
	})}
}

func (l *Limits) bucket(address string) *rate.Limiter {
	b, _ := l.buckets.ComputeIfAbsent(address, func() (*rate.Limiter, bool) { return rate.NewLimiter(l.each, l.burst), false })
	return b
}

// Check refuses an address that has used up what it may.
func (l *Limits) Check(address string) error {
	if l.bucket(address).Tokens() >= 1 {
		return nil
	}
	return l.refusal()
}

// Count notes one, and refuses when it was too many.
func (l *Limits) Count(address string) error {
	if l.bucket(address).Allow() {
		return nil
	}
	return l.refusal()
}

func (l *Limits) refusal() error {
	wait := time.Duration(float64(time.Second) / float64(l.each)).Round(time.Second)
	return &fault.Error{Kind: fault.Limited, After: max(wait, time.Second), Sentence: "Too many attempts from your address. Wait a moment and try again."}
}
