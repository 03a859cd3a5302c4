package local

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The range lies below the ephemeral ports of Linux and macOS, so that no outgoing connection takes one of these
// ports, and so that a probe cannot connect to itself.
const (
	firstPort = 20000
	portCount = 10000
)

var errNoPort = errors.New("find a free port: every port from 20000 to 29999 on 127.0.0.1 is in use: end some processes")

// ports hands out the ports of children. It goes round the whole range, so that a port that was given back is
// used again as late as possible and a late call does not reach somebody else's process.
type ports struct {
	mu    sync.Mutex
	next  int          // guarded by mu
	taken map[int]bool // guarded by mu
}

// newPorts starts at a random place, so that two systems on one machine seldom want the same port.
func newPorts() *ports {
	return &ports{next: rand.IntN(portCount), taken: map[int]bool{}} //nolint:gosec // spreads ports, hides nothing
}

// take returns a port that nobody listens on and that nobody else was given.
func (p *ports) take(ctx context.Context) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range portCount {
		port := firstPort + p.next
		p.next = (p.next + 1) % portCount
		if p.taken[port] || !free(ctx, port) {
			continue
		}
		p.taken[port] = true
		return port, nil
	}
	return 0, errNoPort
}

func (p *ports) giveBack(port int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, port)
}

func free(ctx context.Context, port int) bool {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", loopback(port))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
