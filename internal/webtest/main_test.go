package webtest_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/devflowfix/devflowfix/internal/harness"
	"github.com/devflowfix/devflowfix/internal/queue"
	"github.com/devflowfix/devflowfix/internal/webtest"
)

// screenshots is a folder for pictures of all pages; none are taken without.
var screenshots = flag.String("screenshots", "", "folder for pictures of all pages")

var chromium *webtest.Chromium

// TestMain starts the browser that the tests share.
func TestMain(m *testing.M) {
	flag.Parse()
	queue.SilenceClient()
	var end func()
	var err error
	if chromium, end, err = webtest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	end()
	os.Exit(status)
}

// person opens a window and logs somebody in through the pages.
func person(t *testing.T, w *harness.World, login string) *webtest.Window {
	t.Helper()
	b := chromium.Window(t, w.URL)
	b.Open("/login")
	b.Click("Log in with GitHub")
	b.Sees("wants to act in your name")
	b.Fill("other", login)
	b.Click("Authorize")
	b.Sees("Log out")
	return b
}
