package kubetest

import (
	"context"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// Proxy stands between one client and the API server, to cut that client off.
type Proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu      sync.Mutex
	open    map[net.Conn]struct{} // guarded by mu
	stalled chan struct{}         // guarded by mu: not nil while nothing gets through; closed when it does again
}

// Through makes a kubeconfig like the namespace's whose way leads through a proxy of its own.
func (n *Namespace) Through() (kubeconfig string, p *Proxy) {
	n.T.Helper()
	file, err := clientcmd.LoadFromFile(n.Kubeconfig)
	if err != nil {
		n.T.Fatal(err)
	}
	cluster := file.Clusters[file.Contexts[file.CurrentContext].Cluster]
	server, err := url.Parse(cluster.Server)
	if err != nil {
		n.T.Fatal(err)
	}
	p = newProxy(n.T, server.Host)
	server.Host = p.listener.Addr().String()
	cluster.Server = server.String()
	kubeconfig = filepath.Join(n.T.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*file, kubeconfig); err != nil {
		n.T.Fatal(err)
	}
	return kubeconfig, p
}

func newProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: listener, target: target, open: map[net.Conn]struct{}{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.Cut()
		p.Resume()
		p.running.Wait()
	})
	return p
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.add(client, server)
		p.running.Go(func() { p.copy(client, server) })
		p.running.Go(func() { p.copy(server, client) })
	}
}

func (p *Proxy) add(connections ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, connection := range connections {
		p.open[connection] = struct{}{}
	}
}

func (p *Proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		read, err := from.Read(buffer)
		p.wait()
		if _, err := to.Write(buffer[:read]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) wait() {
	p.mu.Lock()
	stalled := p.stalled
	p.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}

// Stall lets nothing through, and tells nobody: as a network that has gone away.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = make(chan struct{})
}

// Resume lets everything through again.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// Cut closes the connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for connection := range p.open {
		_ = connection.Close()
	}
	clear(p.open)
}
