package queue

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience bounds every step of a Redis command.
const patience = time.Second

// Open returns a client for a Redis URL; it makes no connection yet. One
// server, Sentinel and Cluster have URLs of their own, the second of each pair
// with TLS:
//
//	redis://:password@host:6379/0               rediss://…
//	redis-sentinel://:password@host1:26379,host2:26379/mymaster?db=0&sentinel_password=…
//	                                            rediss-sentinel://…
//	redis-cluster://:password@host1:6379,host2:6379
//	                                            rediss-cluster://…
//
// The client obeys its callers' contexts and gives up on a hung Redis within a
// second, because forges do not wait long; it repeats nothing by itself. Only
// on Cluster it asks once more, since the nodes send it to each other: what is
// enqueued twice is there once.
func Open(rawURL string) (redis.UniversalClient, error) {
	o, err := parseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("the Redis URL is malformed: %w", err)
	}
	if o.single != nil {
		s := o.single
		s.ContextTimeoutEnabled, s.MaxRetries, s.DialerRetries = true, -1, 1
		s.DialTimeout, s.ReadTimeout, s.WriteTimeout, s.PoolTimeout = patience, patience, patience, patience
		return redis.NewClient(s), nil
	}
	m := o.many
	m.ContextTimeoutEnabled, m.MaxRetries, m.DialerRetries, m.MaxRedirects = true, -1, 1, 1
	m.DialTimeout, m.ReadTimeout, m.WriteTimeout, m.PoolTimeout = patience, patience, patience, patience
	return redis.NewUniversalClient(m), nil
}

// CheckURL reports what is wrong with a Redis URL.
func CheckURL(rawURL string) error {
	_, err := parseURL(rawURL)
	return err
}

// location is what a URL says: one server, or many.
type location struct {
	single *redis.Options
	many   *redis.UniversalOptions
}

// Errors never show a URL, which may hold a password.
var (
	errURL     = errors.New("it is a URL that begins with redis://, redis-sentinel:// or redis-cluster://, or for TLS with rediss://, rediss-sentinel:// or rediss-cluster://")
	errSingle  = errors.New("one server is redis://:password@host:6379/0, or rediss:// for TLS")
	errHosts   = errors.New("it names no host, or one that is no host:port; several are separated by commas")
	errMaster  = errors.New("it names the master after the hosts, redis-sentinel://:password@host1:26379,host2:26379/mymaster")
	errDB      = errors.New("its database is a number, after the host or for Sentinel as ?db=0")
	errCluster = errors.New("a Cluster has but one database: leave the path out")
	errQuery   = errors.New("after the question mark it may have db, sentinel_username and sentinel_password, for Sentinel alone")
)

func parseURL(rawURL string) (location, error) {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	kind, secure := scheme, strings.HasPrefix(scheme, "rediss")
	if secure {
		kind = "redis" + strings.TrimPrefix(scheme, "rediss")
	}
	switch kind {
	case "redis":
		o, err := redis.ParseURL(rawURL)
		if err != nil {
			return location{}, errSingle // the cause may print the password
		}
		return location{single: o}, nil
	case "redis-sentinel", "redis-cluster":
		o, u, err := parseHosts(rest, map[string]string{"redis-sentinel": "26379", "redis-cluster": "6379"}[kind])
		if err != nil {
			return location{}, err
		}
		if secure {
			o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12} // each host by its own name
		}
		if kind == "redis-cluster" {
			o.IsClusterMode = true
			return location{many: o}, clusterURL(u)
		}
		return location{many: o}, sentinelURL(u, o)
	default:
		return location{}, errURL
	}
}

// parseHosts takes the hosts out of a URL, which package net/url allows but
// one, and returns what is left.
func parseHosts(rest, port string) (*redis.UniversalOptions, *url.URL, error) {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndex(rest[:end], "@") + 1
	u, err := url.Parse("redis://" + rest[:at] + "host" + rest[end:])
	if err != nil || u.Fragment != "" {
		return nil, nil, errURL
	}
	o := &redis.UniversalOptions{Username: u.User.Username()}
	o.Password, _ = u.User.Password()
	for host := range strings.SplitSeq(rest[at:end], ",") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		name, number, err := net.SplitHostPort(host)
		if _, portErr := strconv.ParseUint(number, 10, 16); err != nil || portErr != nil || name == "" || strings.ContainsAny(name, " @") {
			return nil, nil, errHosts
		}
		o.Addrs = append(o.Addrs, host)
	}
	return o, u, nil
}

func clusterURL(u *url.URL) error {
	switch {
	case strings.Trim(u.Path, "/") != "" && u.Path != "/0":
		return errCluster
	case u.RawQuery != "":
		return errQuery
	}
	return nil
}

func sentinelURL(u *url.URL, o *redis.UniversalOptions) error {
	if o.MasterName = strings.Trim(u.Path, "/"); o.MasterName == "" {
		return errMaster
	}
	q := u.Query()
	for name := range q {
		if !slices.Contains([]string{"db", "sentinel_username", "sentinel_password"}, name) {
			return errQuery
		}
	}
	o.SentinelUsername, o.SentinelPassword = q.Get("sentinel_username"), q.Get("sentinel_password")
	if q.Has("db") {
		n, err := strconv.Atoi(q.Get("db"))
		if err != nil || n < 0 {
			return errDB
		}
		o.DB = n
	}
	return nil
}
