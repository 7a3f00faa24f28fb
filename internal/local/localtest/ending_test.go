package localtest_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/devflowfix/devflowfix/internal/local/localtest"
)

// ending asks TestProcessesEnd to be the process that ends, and how.
const ending = "DEVFLOWFIX_TEST_ENDING"

const mark = "the cluster is in "

// TestProcessesEnd runs itself in processes that end in different ways: no
// server and no file of theirs may be left.
func TestProcessesEnd(t *testing.T) {
	if way := os.Getenv(ending); way != "" {
		end(t, way)
		return
	}
	for _, way := range []string{"returns", "fails", "panics", "is killed"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcessesEnd$")
			cmd.Env = append(os.Environ(), ending+"="+way)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			folder := folderIn(bufio.NewScanner(out))
			if way == "is killed" {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Wait(); (err == nil) != (way == "returns") {
				t.Errorf("the process ended with %v", err)
			}
			if folder == "" {
				t.Fatal("the process had no cluster")
			}
			awaitRemoval(t, folder)
		})
	}
}

func end(t *testing.T, way string) {
	folder := localtest.Postgres(t).Folder
	if _, err := os.Stat(folder); err != nil {
		t.Fatal(err)
	}
	fmt.Println(mark + folder)
	switch way {
	case "fails":
		t.Fail()
	case "panics":
		panic("as asked")
	case "is killed":
		select {}
	}
}

func folderIn(lines *bufio.Scanner) string {
	for lines.Scan() {
		if _, folder, ok := strings.Cut(lines.Text(), mark); ok {
			return folder
		}
	}
	return ""
}

// awaitRemoval waits until path is gone, for twenty seconds at most. The
// janitor removes it only after the server has ended.
func awaitRemoval(t *testing.T, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	turn := time.NewTicker(10 * time.Millisecond)
	defer turn.Stop()
	for {
		if _, err := os.Stat(path); os.IsNotExist(err) {
			return
		}
		select {
		case <-turn.C:
		case <-ctx.Done():
			t.Fatalf("%s is still there", path)
		}
	}
}
