package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/term"

	"github.com/devflowfix/devflowfix/internal/client"
	"github.com/devflowfix/devflowfix/internal/fault"
)

type loginCommand struct {
	Server string `required:"" help:"Address of the server, https://devflowfix.example.com." placeholder:"URL"`
}

// Help says where the token comes from.
func (loginCommand) Help() string {
	return `The token is an API token (dff_…), made by POST /api/v2/tokens, or an access token of ` + "`devflowfix token`" + `. It is taken from DEVFLOWFIX_TOKEN, else asked for, else read from the first line of standard input; never from an argument, which others on this machine could see.

Programs need no login: DEVFLOWFIX_SERVER and DEVFLOWFIX_TOKEN together win over it.`
}

// Run keeps a token that the server has accepted.
func (c loginCommand) Run(p *process) error {
	if err := client.CheckServer(c.Server); err != nil {
		return err
	}
	path, err := p.loginFile()
	if err != nil {
		return err
	}
	token, err := p.askToken()
	if err != nil {
		return err
	}
	server, err := client.New(c.Server, token)
	if err != nil {
		return err
	}
	me, err := server.Me(p.ctx)
	if fault.Is(err, fault.Unauthenticated) {
		return fault.New(fault.Unauthenticated, server.Server()+" does not accept this token. Make a new one there; nothing is stored.")
	}
	if err != nil {
		return err
	}
	if err := (login{server.Server(), token}).save(path); err != nil {
		return err
	}
	newScreen(p.stdout, nil).say("Logged in at %s as %s (scope: %s).\nThe token is in %s, for you alone.",
		server.Server(), me.Value.Name, strings.Join(me.Value.Scopes, ", "), path)
	return nil
}

// askToken takes the token from where nobody else sees it.
func (p *process) askToken() (string, error) {
	if token := settings(p.environ)["DEVFLOWFIX_TOKEN"]; token != "" {
		return token, nil
	}
	var token string
	if f, ok := p.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(p.stderr, "API token (it is not shown): ")
		typed, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.stderr)
		if err != nil {
			return "", fmt.Errorf("read token: %w", err)
		}
		token = string(typed)
	} else {
		line, err := bufio.NewReader(io.LimitReader(p.stdin, 1<<16)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read token: %w", err)
		}
		token = line
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", fault.New(fault.Invalid, "There is no token. Give it on standard input or in DEVFLOWFIX_TOKEN.")
	}
	return token, nil
}

type logoutCommand struct{}

// Run forgets the login. The token itself stays good until it ends or is
// revoked.
func (logoutCommand) Run(p *process) error {
	path, err := p.loginFile()
	if err != nil {
		return err
	}
	switch err := os.Remove(path); {
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintln(p.stdout, "You were not logged in.")
	case err != nil:
		return fmt.Errorf("forget the login: %w", err)
	default:
		fmt.Fprintln(p.stdout, "The token is removed from this machine. It stays good until it ends or is revoked (DELETE /api/v2/tokens/…).")
	}
	return nil
}

// login is what `devflowfix login` keeps.
type login struct {
	Server string `json:"server"`
	Token  string `json:"token"`
}

// loginFile is where the login of this user is kept.
func (p *process) loginFile() (string, error) {
	environ := settings(p.environ)
	folder := environ["XDG_CONFIG_HOME"]
	if folder == "" && runtime.GOOS == "windows" {
		folder = environ["APPDATA"]
	}
	if folder == "" && environ["HOME"] != "" {
		folder = filepath.Join(environ["HOME"], ".config")
	}
	if !filepath.IsAbs(folder) {
		return "", fault.New(fault.Invalid, "There is no folder for your settings: neither XDG_CONFIG_HOME nor HOME names one. Set DEVFLOWFIX_SERVER and DEVFLOWFIX_TOKEN instead of logging in.")
	}
	return filepath.Join(folder, "devflowfix", "login.json"), nil
}

// save writes the login for its owner alone, whole or not at all.
func (l login) save(path string) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fault.New(fault.Invalid, fmt.Sprintf("The login cannot be kept: %v.", err))
	}
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("encode login: %w", err)
	}
	draft, err := os.CreateTemp(folder, "login-*") // made with 0600
	if err != nil {
		return fault.New(fault.Invalid, fmt.Sprintf("The login cannot be kept: %v.", err))
	}
	_, err = draft.Write(append(raw, '\n'))
	if err = errors.Join(err, draft.Close()); err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep login: %w", err), os.Remove(draft.Name()))
	}
	return nil
}

// client is the server that the user has logged in at, or that the environment
// names.
func (p *process) client() (*client.Client, error) {
	environ := settings(p.environ)
	server, token := environ["DEVFLOWFIX_SERVER"], environ["DEVFLOWFIX_TOKEN"]
	switch {
	case server != "" && token != "":
		return client.New(server, token)
	case server != "" || token != "":
		return nil, fault.New(fault.Invalid, "DEVFLOWFIX_SERVER and DEVFLOWFIX_TOKEN go together. Set both, or neither and run `devflowfix login`.")
	}
	path, err := p.loginFile()
	if err != nil {
		return nil, err
	}
	kept, err := readLogin(path)
	if err != nil {
		return nil, err
	}
	return client.New(kept.Server, kept.Token)
}

// readLogin reads a login that nobody else can read.
func readLogin(path string) (login, error) {
	var l login
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, fault.New(fault.Unauthenticated, "You are not logged in. Run `devflowfix login --server URL`.")
	}
	if err != nil {
		return l, fmt.Errorf("login: %w", err)
	}
	// Windows keeps no such bits; its profile folders are their owner's.
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return l, fault.New(fault.Unauthenticated, fmt.Sprintf(
			"Others on this machine can read your token. Run `chmod 600 %s`, and make a new token if somebody may have read it.", path))
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return l, fmt.Errorf("login: %w", err)
	}
	if json.Unmarshal(raw, &l) != nil || l.Server == "" || l.Token == "" {
		return l, fault.New(fault.Unauthenticated, fmt.Sprintf("The file %s is damaged. Run `devflowfix login --server URL` again.", path))
	}
	return l, nil
}
