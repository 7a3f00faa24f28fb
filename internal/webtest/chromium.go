// Package webtest looks at DevFlowFix through a real browser: Chromium without
// a window. Its words are those of somebody at a screen: open, click, fill in,
// see. What a page complains of in its console fails the test.
package webtest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Chromium is the browser, with which tests open windows.
type Chromium struct{ ctx context.Context }

// Start starts the browser with a profile of its own. It needs the program:
// apt-get install chromium.
func Start() (*Chromium, func(), error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-background-networking", true))
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, endBrowser := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		endAllocator()
		return nil, nil, fmt.Errorf("start Chromium (apt-get install chromium): %w", err)
	}
	return &Chromium{ctx}, func() { endBrowser(); endAllocator() }, nil
}

// soon ends the wait of a test that has failed.
const soon = 20 * time.Second

// Window is a window with cookies of its own.
type Window struct {
	tb   testing.TB
	base string
	ctx  context.Context

	mu        sync.Mutex
	complains []string
}

// Window opens one on the pages below base.
func (c *Chromium) Window(tb testing.TB, base string) *Window {
	tb.Helper()
	w := &Window{tb: tb, base: base}
	ctx, closeWindow := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(w.listen))
	w.ctx = ctx
	tb.Cleanup(func() {
		closeWindow()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, what := range w.complains {
			tb.Errorf("the browser complains: %s", what)
		}
	})
	// The window lives as long as the context of what is first done in it.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		tb.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		tb.Fatal(err)
	}
	return w
}

func (w *Window) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		// That a page is refused or not there is said by the page itself.
		if e.Entry.Level == "error" && !strings.Contains(e.Entry.Text, "Failed to load resource") {
			text = e.Entry.Text
		}
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
	}
	if text != "" {
		w.mu.Lock()
		w.complains = append(w.complains, text)
		w.mu.Unlock()
	}
}

func (w *Window) do(action chromedp.Action[chromedp.Void]) {
	w.tb.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, soon)
	defer cancel()
	if err := chromedp.Do(ctx, action); err != nil {
		w.tb.Fatalf("%v\n%s", err, w.Text())
	}
}

// Open goes to an address: a path of DevFlowFix, or a whole URL.
func (w *Window) Open(address string) {
	w.tb.Helper()
	if strings.HasPrefix(address, "/") {
		address = w.base + address
	}
	w.do(chromedp.Navigate(address))
}

// Click clicks the button or link of that text, once there is one.
func (w *Window) Click(text string) {
	w.tb.Helper()
	w.until("there is something to click: "+text, func() bool {
		clicked, err := ask[bool](w, `(() => {
			const named = (e) => e.textContent.trim() === `+strconv.Quote(text)+` || e.ariaLabel === `+strconv.Quote(text)+`;
			const found = [...document.querySelectorAll("main a, main button, a, button")].find((e) => named(e) && e.checkVisibility());
			found?.click();
			return Boolean(found);
		})()`)
		return err == nil && clicked
	})
}

// Fill writes into the input of that name, once there is one.
func (w *Window) Fill(name, text string) {
	w.tb.Helper()
	w.until("there is an input "+name, func() bool {
		filled, err := ask[bool](w, `(() => {
			const found = document.querySelector("input:not([type=hidden])[name=`+name+`], textarea[name=`+name+`]");
			if (found) found.value = `+strconv.Quote(text)+`;
			return Boolean(found);
		})()`)
		return err == nil && filled
	})
}

// Press presses keys, where the focus is.
func (w *Window) Press(keys string) {
	w.tb.Helper()
	w.do(chromedp.KeyEvent(keys))
}

// Ask evaluates an expression in the page.
func Ask[T any](w *Window, expression string) T {
	w.tb.Helper()
	answer, err := ask[T](w, expression)
	if err != nil {
		w.tb.Fatalf("%v\n%s", err, w.Text())
	}
	return answer
}

func ask[T any](w *Window, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(w.ctx, soon)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Text is the text of the page, as it is shown; empty between two pages.
func (w *Window) Text() string {
	text, _ := ask[string](w, `document.body ? document.body.innerText : ""`)
	return text
}

// Sees waits until the page shows a text.
func (w *Window) Sees(text string) {
	w.tb.Helper()
	w.until("it shows "+text, func() bool { return strings.Contains(w.Text(), text) })
}

// IsAt waits until the window shows the page of a path, which may have more
// behind it.
func (w *Window) IsAt(prefix string) {
	w.tb.Helper()
	w.until("it is at "+prefix, func() bool {
		at, _ := ask[string](w, `location.href`)
		return strings.HasPrefix(strings.TrimPrefix(at, w.base), prefix)
	})
}

func (w *Window) until(what string, check func() bool) {
	w.tb.Helper()
	deadline := time.Now().Add(soon)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		if time.Now().After(deadline) {
			w.tb.Fatalf("still not: %s\n%s", what, w.Text())
		}
		<-tick.C
	}
}
