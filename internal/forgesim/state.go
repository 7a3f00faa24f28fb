package forgesim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// stateVersion changes when a snapshot of another version cannot be read.
const stateVersion = 1

// What is kept: in memory, and of that in a snapshot.
const (
	keepDeliveries  = 5000
	savedDeliveries = 300
	keepRequests    = 5000
)

// state is everything that survives a restart. It owns what its pointers
// point to; what leaves the package is copied.
type state struct {
	Version      int           `json:"version"`
	Serial       int64         `json:"serial"` // last number given out by newID
	Repositories []*Repository `json:"repositories"`
	Hooks        []*Hook       `json:"hooks"`
	Runs         []*Run        `json:"runs"`
	Deliveries   []*Delivery   `json:"deliveries"` // oldest first

	Histories map[int64]*history `json:"histories,omitempty"` // by repository
	Pulls     []*Pull            `json:"pulls,omitempty"`     // oldest first
	Comments  []*Comment         `json:"comments,omitempty"`  // oldest first
	Checks    []*CheckRun        `json:"checks,omitempty"`    // oldest first

	App           *App             `json:"app,omitempty"`
	Installations []*Installation  `json:"installations,omitempty"`
	Credentials   []*credential    `json:"credentials,omitempty"` // oldest first
	Codes         []*code          `json:"codes,omitempty"`
	Issued        []string         `json:"issued,omitempty"`      // every secret ever
	AccountIDs    map[string]int64 `json:"account_ids,omitempty"` // of renamed GitHub accounts
}

// base is added to the serial number to make an id of some kind. The bases
// are beyond 32 bits where the forges' own ids are or will be; delivery ids
// are beyond what a float64 holds exactly.
type base int64

const (
	repositoryIDs base = 1_080_000_000
	projectIDs    base = 71_000_000
	hookIDs       base = 580_000_000
	workflowIDs   base = 210_000_000
	runIDs        base = 19_200_000_000
	jobIDs        base = 54_800_000_000
	pipelineIDs   base = 5_240_000_000
	buildIDs      base = 12_700_000_000
	deliveryIDs   base = 23_081_590_781_665_280
	requestIDs    base = 4_000_000
	pullIDs       base = 2_900_000_000
	commentIDs    base = 3_400_000_000
	checkIDs      base = 56_100_000_000
	artifactIDs   base = 4_700_000_000

	appIDs          base = 1_400_000
	installationIDs base = 92_000_000
)

// newID returns an id that was never given out before, not even before a
// restart or a reset.
func (s *Sim) newID(b base) int64 {
	s.state.Serial++
	return int64(b) + s.state.Serial
}

func loadState(path string) (state, error) {
	fresh := state{Version: stateVersion}
	if path == "" {
		return fresh, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("forge simulator's state: %w", err)
	}
	var st state
	if err := json.Unmarshal(raw, &st); err != nil {
		return state{}, fmt.Errorf("forge simulator's state %s is damaged, delete it to start afresh: %w", path, err)
	}
	if st.Version != stateVersion {
		return state{}, fmt.Errorf("forge simulator's state %s has version %d, this program reads %d: delete it to start afresh",
			path, st.Version, stateVersion)
	}
	for _, run := range st.Runs {
		// What ran when the simulator was closed has ended since, unheard.
		run.latest().Phase = Completed
	}
	return st, nil
}

// snapshot is the state as it is saved.
func (s *Sim) snapshot() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	if n := len(st.Deliveries); n > savedDeliveries {
		st.Deliveries = st.Deliveries[n-savedDeliveries:]
	}
	raw, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("encode the forge simulator's state: %w", err)
	}
	return raw, nil
}

// changed asks for the state to be saved soon.
func (s *Sim) changed() { s.saver.poke() }

// saver writes snapshots, at most one per saveInterval.
type saver struct {
	path     string
	snapshot func() ([]byte, error)
	dirty    chan struct{}
	stop     chan struct{}
	done     chan struct{}
}

const saveInterval = 200 * time.Millisecond

func newSaver(path string, snapshot func() ([]byte, error)) *saver {
	v := &saver{
		path: path, snapshot: snapshot,
		dirty: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go v.run()
	return v
}

func (v *saver) poke() {
	select {
	case v.dirty <- struct{}{}:
	default:
	}
}

func (v *saver) run() {
	defer close(v.done)
	for {
		select {
		case <-v.stop:
			return
		case <-v.dirty:
		}
		// What fails here fails again in close, which reports it.
		_ = v.save()
		select {
		case <-v.stop:
			return
		case <-time.After(saveInterval):
		}
	}
}

func (v *saver) close() error {
	close(v.stop)
	<-v.done
	return v.save()
}

// save replaces the snapshot in one step, so that a crash leaves the old or
// the new one. It is readable by the owner alone: it holds hook secrets.
func (v *saver) save() error {
	if v.path == "" {
		return nil
	}
	raw, err := v.snapshot()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(v.path), 0o700); err != nil {
		return fmt.Errorf("save the forge simulator's state: %w", err)
	}
	next := v.path + ".next"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return fmt.Errorf("save the forge simulator's state: %w", err)
	}
	if err := os.Rename(next, v.path); err != nil {
		return fmt.Errorf("save the forge simulator's state: %w", err)
	}
	return nil
}
