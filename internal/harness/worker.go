package harness

import "context"

// Work starts the worker of a world that was started without one. The returned
// function stops it and waits until it has stopped; the end of the test does
// so too.
func (w *World) Work() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.App.Work(ctx); err != nil {
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
