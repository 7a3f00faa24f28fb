package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that PostgreSQL runs as.
type account struct {
	name     string
	uid, gid uint32
	// switched says that it is not the user of this process, which is then
	// root.
	switched bool
}

// serverAccount returns the user of this process, or, for root, "postgres" or
// else "nobody".
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{name: "uid " + strconv.Itoa(os.Geteuid()), uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return switchedAccount(u)
		}
	}
	return account{}, errors.New(`PostgreSQL does not run as root, and there is neither a user "postgres" nor "nobody" to run it as; start DevFlowFix as another user`)
}

func switchedAccount(u *user.User) (account, error) {
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	return account{name: u.Username, uid: uint32(uid), gid: uint32(gid), switched: true}, nil
}

// become makes cmd run as the account, with none of our supplementary groups.
func (a account) become(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if a.switched {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
}

// reaches returns nil when the account can enter dir. It tries: permission
// bits say nothing about access lists, mount options or security modules.
func (a account) reaches(ctx context.Context, dir string) error {
	if !a.switched {
		return nil
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", ":")
	cmd.Dir = dir
	a.become(cmd)
	return cmd.Run()
}

// own makes dir, and everything in it, the account's.
func (a account) own(dir string) error {
	if !a.switched {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(a.uid), int(a.gid))
	})
}

// privateFolder makes dir a folder that only the account (and root) can
// enter, creating it when it is missing.
func (a account) privateFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	if !a.switched {
		return nil
	}
	return os.Lchown(dir, int(a.uid), int(a.gid))
}

// ownerOf returns the uid that the file at path belongs to.
func ownerOf(path string) (uint32, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("%s: this system does not tell owners of files", path)
	}
	return stat.Uid, nil
}
