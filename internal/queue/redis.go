package queue

import (
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// Open returns a client for a Redis URL (redis:// or rediss://). It obeys its
// callers' contexts and gives up on a hung Redis within a second, because
// forges do not wait long; it repeats nothing by itself. No connection is made
// yet.
func Open(url string) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("the Redis URL is malformed") // the cause may print the password
	}
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1
	o.DialTimeout = time.Second
	o.ReadTimeout = time.Second
	o.WriteTimeout = time.Second
	o.PoolTimeout = time.Second
	return redis.NewClient(o), nil
}
