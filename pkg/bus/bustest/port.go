package bustest

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports of tests come from 11000 to 19999: no system gives such a port to a connection by itself (RFC 6056 and Linux begin above them), and sluice local gives its processes others.
const (
	firstPort  = 11_000
	blockPorts = 100
	blocks     = 90
)

// ports are those of this process: whole blocks of which it holds the first port as long as it lives, so that no other process gives one of them.
var ports struct {
	mu     sync.Mutex
	blocks []net.Listener // guarded by mu: what holds them
	given  int            // guarded by mu: how many were given, of all blocks in their order
}

// FreePort finds a port of loopback for a test that must know it before something listens on it, or after it has stopped: nobody else gets it meanwhile. The test fails when there
// is none.
func FreePort(t testing.TB) int {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for range blocks * blockPorts {
		port, ok := nextPort(t.Context())
		if !ok {
			break
		}
		if listener, err := listen(t.Context(), port); err == nil {
			_ = listener.Close() // it was only tried
			return port
		}
	}
	t.Fatalf("no port of %d to %d is free", firstPort, firstPort+blocks*blockPorts-1)
	return 0
}

// nextPort is the next port of this process, of a new block if all were given; those that were given first come again when there is no other block.
func nextPort(ctx context.Context) (port int, ok bool) {
	const usable = blockPorts - 1
	if ports.given == usable*len(ports.blocks) && !takeBlock(ctx) {
		ports.given = 0
	}
	if len(ports.blocks) == 0 {
		return 0, false
	}
	held := ports.blocks[ports.given/usable].Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // listen has made it
	port = held + 1 + ports.given%usable
	ports.given++
	return port, true
}

// takeBlock takes a block that no process has.
func takeBlock(ctx context.Context) bool {
	for i := range blocks {
		if listener, err := listen(ctx, firstPort+i*blockPorts); err == nil {
			ports.blocks = append(ports.blocks, listener)
			return true
		}
	}
	return false
}

func listen(ctx context.Context, port int) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
