package plane

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestPortsStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ports.json")
	drawn, err := openPorts(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := openPorts(path); err != nil || again != drawn {
		t.Errorf("ports %+v, error %v, want those of before: %+v", again, err, drawn)
	}
}

func TestPortsAreFreeAndDifferent(t *testing.T) {
	free, err := freePorts(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, port := range free {
		if seen[port] || port < firstPort || port > lastPort {
			t.Errorf("port %d: drawn before: %v; want one of %d to %d", port, seen[port], firstPort, lastPort)
		}
		seen[port] = true
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
	}
}

func TestABrokenFileOfPortsIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ports.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openPorts(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
}
