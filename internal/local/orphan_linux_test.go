package local

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"
)

// childFolder asks TestMain to be the process that is killed in
// TestServersDieWithUs, with its servers in that folder.
const childFolder = "DEVFLOWFIX_TEST_CHILD"

type childServers struct{ Socket, RedisAddress string }

func TestMain(m *testing.M) {
	dir := os.Getenv(childFolder)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := serveUntilKilled(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serveUntilKilled(dir string) error {
	ctx := context.Background()
	p, err := StartPostgres(ctx, filepath.Join(dir, "postgres"), zerolog.Nop())
	if err != nil {
		return err
	}
	r, err := StartRedis(ctx, filepath.Join(dir, "redis"), zerolog.Nop())
	if err != nil {
		return err
	}
	servers := childServers{Socket: filepath.Join(p.cluster.socket, socketName), RedisAddress: r.address}
	if err := json.NewEncoder(os.Stdout).Encode(servers); err != nil {
		return err
	}
	select {}
}

func TestServersDieWithUs(t *testing.T) {
	t.Parallel()
	dir := reachable(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var s childServers
	if err := json.Unmarshal(line, &s); err != nil {
		t.Fatal(err)
	}
	if !listens("unix", s.Socket) || !listens("tcp", s.RedisAddress) {
		t.Fatalf("%+v do not both listen", s)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "both servers are gone", func() bool {
		return !listens("unix", s.Socket) && !listens("tcp", s.RedisAddress)
	})
	write(t, runPostgres(t, filepath.Join(dir, "postgres")), "works")
	set(t, runRedis(t, filepath.Join(dir, "redis")), "k", "works")
}

func listens(network, address string) bool {
	conn, err := net.Dial(network, address)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
