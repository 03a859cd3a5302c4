package local

import (
	"errors"
	"net"
	"testing"
)

func TestPortsAreGivenOnceAndReusedLate(t *testing.T) {
	pool := newPorts()
	first, err := pool.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool.giveBack(first)
	for range 100 {
		port, err := pool.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if port == first || port < firstPort || port >= firstPort+portCount {
			t.Fatalf("port %d after %d", port, first)
		}
		pool.giveBack(port)
	}
}

func TestPortInUseIsPassedOver(t *testing.T) {
	pool := newPorts()
	probe, err := pool.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", loopback(probe))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	again := &ports{next: probe - firstPort, taken: map[int]bool{}}
	if port, err := again.take(t.Context()); err != nil || port == probe {
		t.Errorf("port %d, %v: it is in use", port, err)
	}
}

func TestNoPortLeft(t *testing.T) {
	pool := newPorts()
	for i := range portCount {
		pool.taken[firstPort+i] = true
	}
	if _, err := pool.take(t.Context()); !errors.Is(err, errNoPort) {
		t.Errorf("take returned %v", err)
	}
}
