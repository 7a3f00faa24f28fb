package forgesim

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The providers, as they are written in the control API.
const (
	GitHub = "github"
	GitLab = "gitlab"
)

// The paths below which the APIs answer. The prefix before the API's own path
// is there on purpose: clients must cope with it, as self-hosted forges have
// one.
const (
	GitHubAPIPath = "/github/api/v3"
	GitLabAPIPath = "/gitlab/api/v4"
)

// Config says what the simulator is like. The zero value works: it keeps its
// state in memory, knows no repository and accepts no token.
type Config struct {
	// StatePath is a file for the state; empty keeps it in memory only. It is
	// read by Open and written soon after changes and by Close.
	StatePath string
	// CreateOnSight creates a repository when the API is asked for an unknown
	// one with a valid name. The owner ghost never has a repository.
	CreateOnSight bool
	// GitHubToken and GitLabToken are the tokens that each API takes at once.
	// They may do everything; people get tokens of their own by logging in.
	GitHubToken, GitLabToken string
	// GitHubOAuth and GitLabOAuth are the OAuth apps that people can log in
	// through; nil means that there is none.
	GitHubOAuth, GitLabOAuth *OAuthClient
	// PublicURL is the base of all links, without a slash at its end; empty
	// takes it from the first request.
	PublicURL string
	// DeliveryTimeout is how long a receiver may take; zero means 10 s, which
	// is what both forges allow.
	DeliveryTimeout time.Duration
	// Client sends the deliveries; nil makes one.
	Client *http.Client
	// GitLabVersion is the version that GitLab claims and behaves like; empty
	// means 19.1.0. Below 19.0 it ignores signing tokens.
	GitLabVersion string
	// AutoDisable lets GitLab switch off hooks that fail, as GitLab.com does.
	AutoDisable bool
	// RateLimit is how many requests GitHub answers per hour and GitLab per
	// minute; zero shows the forges' limits (5000 and 2000) and enforces none.
	RateLimit int
	// PointsPerMinute is GitHub's secondary limit for each token: reading costs
	// 1 and writing 5. Zero enforces none (GitHub's own is 900).
	PointsPerMinute int
	// HookTestsPerMinute limits GitLab's hook tests and resends per project;
	// zero means no limit (GitLab's own is 5).
	HookTestsPerMinute int
	// KeepDeliveries is how many deliveries the logs keep at least half of; zero
	// means 5000.
	KeepDeliveries int
	// PublicOnly refuses hook URLs on local networks, as the forges do.
	PublicOnly bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Sim is a running simulator.
type Sim struct {
	cfg    Config
	client *http.Client // checks certificates
	lax    *http.Client // for hooks that ask not to
	ctx    context.Context
	cancel context.CancelFunc
	flight flight
	slots  chan struct{} // bounds the deliveries that are sent at the same moment
	saver  *saver

	mu         sync.Mutex
	state      state
	publicURL  string
	oauth      map[string]*OAuthClient // by provider
	faults     []*Fault
	requests   []Request
	complaints []Complaint
	budgets    map[string]budget  // by provider
	points     map[string]*points // by token
	hookTests  map[int64][]time.Time
}

// Open starts a simulator with the state of an earlier one, if there is any.
func Open(cfg Config) (*Sim, error) {
	if cfg.DeliveryTimeout == 0 {
		cfg.DeliveryTimeout = 10 * time.Second
	}
	if cfg.KeepDeliveries == 0 {
		cfg.KeepDeliveries = keepDeliveries
	}
	if cfg.GitLabVersion == "" {
		cfg.GitLabVersion = "19.1.0"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	st, err := loadState(cfg.StatePath)
	if err != nil {
		return nil, err
	}
	s := &Sim{
		cfg:       cfg,
		slots:     make(chan struct{}, 64),
		state:     st,
		publicURL: strings.TrimRight(cfg.PublicURL, "/"),
		budgets:   map[string]budget{},
		points:    map[string]*points{},
		hookTests: map[int64][]time.Time{},
		oauth:     map[string]*OAuthClient{GitHub: cfg.GitHubOAuth, GitLab: cfg.GitLabOAuth},
	}
	s.client, s.lax = deliveryClients(cfg.Client)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.saver = newSaver(cfg.StatePath, s.snapshot)
	return s, nil
}

// SetPublicURL sets the base of all links from now on.
func (s *Sim) SetPublicURL(u string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publicURL = strings.TrimRight(u, "/")
}

// Wait returns when no run is being played and no delivery is under way.
func (s *Sim) Wait(ctx context.Context) error {
	if err := s.flight.wait(ctx); err != nil {
		return fmt.Errorf("wait for deliveries: %w", err)
	}
	return nil
}

// Close stops runs between two of their phases, waits for the deliveries
// under way and saves the state.
func (s *Sim) Close() error {
	s.cancel()
	// A delivery ends by itself after the delivery timeout.
	_ = s.flight.wait(context.Background())
	return s.saver.close()
}

// Handler serves the APIs, the pages of runs, the control API and its page.
func (s *Sim) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(GitHubAPIPath+"/", s.api(GitHub, GitHubAPIPath, s.githubRoutes()))
	mux.Handle(GitLabAPIPath+"/", s.api(GitLab, GitLabAPIPath, s.gitlabRoutes()))
	mux.HandleFunc("/blobs/logs/{job}", s.logBlob)
	mux.HandleFunc("/blobs/artifacts/{artifact}", s.artifactBlob)
	mux.HandleFunc("/github/", s.githubRunPage)
	mux.HandleFunc("/gitlab/", s.gitlabRunPage)
	s.webRoutes(mux)
	protect := http.NewCrossOriginProtection()
	mux.Handle("/control/", protect.Handler(s.controlRoutes()))
	mux.Handle("/", protect.Handler(s.pageRoutes()))
	return s.learnURL(mux)
}

// learnURL takes the public URL from the first request when none was set.
func (s *Sim) learnURL(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.publicURL == "" {
			s.publicURL = "http://" + r.Host
		}
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (s *Sim) now() time.Time { return s.cfg.Now().UTC() }

// flight counts what is under way.
type flight struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to zero; nil while nobody waits
}

func (f *flight) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
}

func (f *flight) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

func (f *flight) wait(ctx context.Context) error {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.idle == nil {
		f.idle = make(chan struct{})
	}
	idle := f.idle
	f.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
