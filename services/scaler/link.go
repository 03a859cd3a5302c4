package scaler

import (
	"context"
	"sync"
)

// link interrupts what waits for NATS when the connection was lost and is back: answers to what was asked before never come.
type link struct {
	mu      sync.Mutex
	waiting map[*context.CancelFunc]struct{} // guarded by mu
}

// bind returns a context that ends with ctx, with the connection or when done is called, which it must be.
func (l *link) bind(ctx context.Context) (bound context.Context, done func()) {
	bound, cancel := context.WithCancel(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[&cancel] = struct{}{}
	return bound, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, &cancel)
		cancel()
	}
}

// renew ends all contexts that were bound before.
func (l *link) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for cancel := range l.waiting {
		(*cancel)()
	}
}
