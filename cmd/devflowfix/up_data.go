package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/devflowfix/devflowfix/internal/fault"
	"github.com/devflowfix/devflowfix/internal/secret"
)

// dataFolder is where `up` keeps everything of its own.
type dataFolder struct{ path string }

// dataKeys are the secrets that `up` makes once for its private installation.
type dataKeys struct {
	Encryption string `json:"encryption_key"`
	Operator   string `json:"operator_password"`
	GitHub     string `json:"github_token"`
	GitLab     string `json:"gitlab_token"`
	Client     string `json:"oauth_client_secret"` // of the OAuth applications at the simulator
}

// keysFile also marks the folder as ours.
const keysFile = "devflowfix-keys.json"

// openData makes the folder, or makes sure that it is ours.
func openData(path string) (dataFolder, error) {
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return dataFolder{}, fault.Wrap(fault.Invalid, err, "There is no cache folder for this user; name a folder with --data.")
		}
		path = filepath.Join(cache, "devflowfix", "up")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return dataFolder{}, fault.New(fault.Invalid, fmt.Sprintf("The data folder cannot be made (%v). Choose another with --data.", err))
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return dataFolder{}, fault.New(fault.Invalid, fmt.Sprintf("The data folder cannot be read (%v). Choose another with --data.", err))
	}
	if _, err := os.Stat(filepath.Join(path, keysFile)); errors.Is(err, fs.ErrNotExist) && len(entries) > 0 {
		return dataFolder{}, fault.New(fault.Conflict, fmt.Sprintf(
			"The folder %s holds files that DevFlowFix did not put there. Choose an empty or a new one with --data.", path))
	}
	return dataFolder{path}, nil
}

// keys reads the folder's secrets, made on the first start.
func (d dataFolder) keys() (dataKeys, error) {
	path := filepath.Join(d.path, keysFile)
	var k dataKeys
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		k = dataKeys{
			Encryption: secret.NewKey(),
			Operator:   secret.Random().Reveal()[:20],
			GitHub:     "ghp_" + secret.Random().Reveal()[:36],
			GitLab:     "glpat-" + secret.Random().Reveal()[:20],
			Client:     secret.Random().Reveal(),
		}
		return k, k.save(path)
	}
	if err != nil {
		return k, fmt.Errorf("read keys: %w", err)
	}
	if err := json.Unmarshal(raw, &k); err != nil || k.Encryption == "" {
		return k, fault.New(fault.Conflict, fmt.Sprintf(
			"The file %s is damaged. Bring it back, or choose another folder with --data; without it the stored secrets are lost.", path))
	}
	if k.Client == "" { // a folder of an earlier release
		k.Client = secret.Random().Reveal()
		return k, k.save(path)
	}
	return k, nil
}

func (k dataKeys) save(path string) error {
	raw, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return os.WriteFile(path, raw, 0o600)
}

// settingsMap is an environment that can be filled in.
type settingsMap map[string]string

func settings(environ []string) settingsMap {
	m := settingsMap{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		m[name] = value
	}
	return m
}

// fill sets what is not set.
func (m settingsMap) fill(name, value string) {
	if m[name] == "" {
		m[name] = value
	}
}

func (m settingsMap) hasAny(names ...string) bool {
	for _, n := range names {
		if m[n] != "" {
			return true
		}
	}
	return false
}

func (m settingsMap) environ() []string {
	list := make([]string, 0, len(m))
	for name, value := range m {
		list = append(list, name+"="+value)
	}
	return list
}
