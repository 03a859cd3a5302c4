package natsperm

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// cluster starts three servers as the chart configures them, but for their addresses.
func cluster(t *testing.T) []*server.Server {
	t.Helper()
	setPasswords(t)
	config := renderConfig(t)
	addresses := freeAddresses(t, 3)
	for i, address := range addresses {
		// Kubernetes puts the password into the URL: see sluice.nats.env.
		t.Setenv("SLUICE_ROUTE_"+strconv.Itoa(i), "nats-route://route:"+passwordOf("route")+"@"+address)
	}
	servers := make([]*server.Server, len(addresses))
	for i, address := range addresses {
		o := parse(t, config, "sluice-nats-"+strconv.Itoa(i))
		if len(o.Routes) != 3 || o.Cluster.Name != "sluice" || o.Cluster.Port != 6222 {
			t.Fatalf("cluster %q has routes %v", o.Cluster.Name, o.Routes)
		}
		o.Cluster.Host, o.Cluster.Port = splitAddress(t, address)
		servers[i] = start(t, o)
	}
	eventually(t, "the servers have a leader", func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(servers) {
				return true
			}
		}
		return false
	})
	return servers
}

// freeAddresses finds some whose ports no system gives to a connection by itself, so that they stay free.
func freeAddresses(t *testing.T, count int) (addresses []string) {
	t.Helper()
	const first, last, tries = 11_000, 29_999, 100
	for range tries {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first+1))))
		if err != nil {
			continue // taken
		}
		defer func() { _ = listener.Close() }()
		if addresses = append(addresses, listener.Addr().String()); len(addresses) == count {
			return addresses
		}
	}
	t.Fatalf("%d of %d ports were found in %d tries", len(addresses), count, tries)
	return nil
}

func splitAddress(t *testing.T, address string) (host string, port int) {
	t.Helper()
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return tcp.IP.String(), tcp.Port
}

// Three servers find each other with the routes' password, keep three copies, and serve every user whichever of them it reaches.
func TestThreeServers(t *testing.T) {
	servers := cluster(t)
	s := newSystem(t, servers[0].ClientURL(), 3)
	for i, running := range servers {
		s.url = running.ClientURL()
		if ack, err := s.as(t, "client").Publish(t.Context(), "sluice.call.f", nil); err != nil || ack.Sequence != uint64(i+1) {
			t.Errorf("publish by server %d: %v %v", i, ack, err)
		}
	}
	for password, refused := range map[string]bool{passwordOf("route"): false, passwordOf("gateway"): true, "": true} {
		if got := routeRefused(t, servers[0], password); got != refused {
			t.Errorf("a server with the password %q is refused: %v", password, got)
		}
	}
}

// routeRefused reports whether a server does not let another one in.
func routeRefused(t *testing.T, running *server.Server, password string) bool {
	t.Helper()
	conn, err := net.Dial("tcp", running.ClusterAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(conn, "CONNECT {\"user\":\"route\",\"pass\":%q,\"name\":\"x\",\"cluster\":\"sluice\"}\r\nPING\r\n", password); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "-ERR 'Authorization Violation'"):
			return true
		case strings.HasPrefix(line, "PONG"):
			return false
		}
	}
	t.Fatal("the server answers neither yes nor no")
	return false
}
