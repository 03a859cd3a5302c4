package kube

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// TestMain ends the control plane, which the first test that needs it has started, and then looks for goroutines that are left.
// Tests wait most of the time, so more of them run side by side than there are processors.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // a flag of the command line wins, since it is parsed later
	code := m.Run()
	if err := stopPlane(); err != nil {
		fmt.Fprintln(os.Stderr, "end the control plane:", err)
		code = 1
	}
	drops.all()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// drops close the connections that tests have made, once more at the end: one on which a watch is just being ended is not idle when its test
// closes it, and an API server that goes on, as that of a node, keeps it.
var drops connections

type connections struct {
	mu   sync.Mutex
	drop []func() // guarded by mu
}

func droppedLater(drop func()) func() {
	drops.mu.Lock()
	defer drops.mu.Unlock()
	drops.drop = append(drops.drop, drop)
	return drop
}

func (c *connections) all() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, drop := range c.drop {
		drop()
	}
}
