package bustest

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// clusterTimeout bounds the wait for the servers of a cluster to find each other and agree on a leader.
const clusterTimeout = 30 * time.Second

// Cluster is several servers that keep copies of each stream.
type Cluster struct {
	// Servers can be stopped and started one by one.
	Servers []*Server
}

// StartCluster starts size servers that are one cluster, which ends with the test. It returns when they have a leader.
func StartCluster(t testing.TB, size int, changes ...Option) *Cluster {
	t.Helper()
	c := &Cluster{}
	routes := reserve(t, size)
	for i, route := range routes {
		s := &Server{t: t, options: server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: FreePort(t), NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: t.TempDir(), MaxPayload: 1 << 20,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: port(route)}, Routes: routes,
		}}
		for _, change := range changes {
			change(&s.options)
		}
		c.Servers = append(c.Servers, s)
	}
	for _, s := range c.Servers {
		s.launch()
		t.Cleanup(s.Stop)
	}
	for _, s := range c.Servers {
		s.await()
	}
	c.awaitLeader(t)
	return c
}

// URL has the addresses of all servers.
func (c *Cluster) URL() string {
	var all []string
	for _, s := range c.Servers {
		all = append(all, s.URL())
	}
	return strings.Join(all, ",")
}

// StreamLeader is the server that leads the stream, nil while there is none.
func (c *Cluster) StreamLeader(stream string) *Server {
	for _, s := range c.Servers {
		if s.running != nil && s.running.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			return s
		}
	}
	return nil
}

func (c *Cluster) awaitLeader(t testing.TB) {
	t.Helper()
	deadline := time.Now().Add(clusterTimeout)
	for time.Now().Before(deadline) {
		for _, s := range c.Servers {
			if s.running.JetStreamIsLeader() {
				return
			}
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("the NATS cluster has no leader after %s", clusterTimeout)
}

// reserve finds free ports for routes.
func reserve(t testing.TB, count int) []*url.URL {
	t.Helper()
	var routes []*url.URL
	for range count {
		routes = append(routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(FreePort(t)))})
	}
	return routes
}

func port(route *url.URL) (number int) {
	_, _ = fmt.Sscan(route.Port(), &number) // of an address that the system has given
	return number
}
