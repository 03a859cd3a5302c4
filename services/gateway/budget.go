package gateway

import "sync"

// budget bounds the memory that the bodies of calls take together while they are queued or held.
type budget struct {
	mu   sync.Mutex
	left int64 // guarded by mu
}

// take reports whether n bytes were left, and takes them.
func (b *budget) take(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}
