package harness

import (
	"context"
	"time"

	"github.com/devflowfix/devflowfix/internal/app"
)

// Work starts the worker of a world that was started without one. The returned
// function stops it and waits until it has stopped; the end of the test does
// so too.
func (w *World) Work() (stop func()) { return w.work(w.App) }

// WorkBeside starts another worker process, with a clock of its own.
func (w *World) WorkBeside(now func() time.Time) (stop func()) {
	w.tb.Helper()
	a := w.Beside()
	a.Now = now
	return w.work(a)
}

func (w *World) work(a *app.App) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.Work(ctx); err != nil {
			w.tb.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	w.tb.Cleanup(stop)
	return stop
}
