package queue

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// SilenceClient keeps go-redis from writing lines of its own to standard
// error. What it would say comes back as errors, which we log. It is for the
// start of a program: go-redis has one logger for all.
func SilenceClient() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
