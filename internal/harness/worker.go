package harness

import (
	"context"
	"net"
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

// WatchWorker serves what a worker process tells of itself, and returns where.
func (w *World) WatchWorker() string {
	w.tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(w.tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.App.Watch(ctx, l) }()
	w.tb.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			w.tb.Error(err)
		}
	})
	return "http://" + l.Addr().String()
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
