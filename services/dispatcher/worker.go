package dispatcher

import (
	"sync/atomic"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// worker is one function at the dispatcher. While it is awake, a shift pulls its calls.
type worker struct {
	dispatcher *Dispatcher
	name       string
	spec       atomic.Pointer[function.Function]
	endpoints  upstream.Endpoints
	taken      atomic.Uint64 // calls started, for progress and activity
	reported   uint64        // of taken; owned by reportActivity

	// published and changed tell the shift, without blocking, that a call was published, or that the limits are others.
	published, changed chan struct{}

	// Guarded by Dispatcher.mu:

	running bool // there is a shift
	began   bool // there has been one
	// gone says that the function was removed. The worker stays until its calls have ended, so that a function which comes back in
	// the meantime finds them counted.
	gone     bool
	unlisten func() // ends the idle subscription, nil if there is none
}

func newWorker(d *Dispatcher, name string) *worker {
	return &worker{dispatcher: d, name: name, published: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
}

// listenLocked subscribes to the function's calls without pulling them. Dispatcher.mu is held.
func (w *worker) listenLocked() {
	if w.unlisten != nil || w.dispatcher.take.Err() != nil {
		return
	}
	stop, err := w.dispatcher.idle.Listen(w.name)
	if err != nil {
		w.dispatcher.deps.Logger.Error().Err(err).Str("function", w.name).Msg("calls of an idle function are noticed late")
		return
	}
	w.unlisten = stop
}

// unlistenLocked ends that. Dispatcher.mu is held.
func (w *worker) unlistenLocked() {
	if w.unlisten != nil {
		w.unlisten()
		w.unlisten = nil
	}
}

func (w *worker) limits() upstream.Limits {
	f := w.spec.Load()
	return upstream.Limits{Total: f.NumberParallelRequest, PerReplica: f.NumberParallelRequestPerPod}
}

// signal leaves a value in a channel of one place, unless there is one.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
