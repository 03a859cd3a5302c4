package bustest

import (
	"sync"
	"testing"
)

// TestFreePort gives each port once, also to tests that ask at the same time, and more than a block has.
func TestFreePort(t *testing.T) {
	const count = 250
	given := make(chan int, count)
	var asking sync.WaitGroup
	for range count {
		asking.Go(func() { given <- FreePort(t) })
	}
	asking.Wait()
	close(given)
	seen := map[int]bool{}
	for port := range given {
		if seen[port] || port <= firstPort || port >= firstPort+blocks*blockPorts || (port-firstPort)%blockPorts == 0 {
			t.Errorf("the port %d is given, again %v", port, seen[port])
		}
		seen[port] = true
	}
	if len(ports.blocks) < 3 {
		t.Errorf("only %d blocks are held", len(ports.blocks))
	}
}
