package gateway

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/ops"
)

// listeners serve one handler on several addresses: the public ones, and those whose callers are all inside.
type listeners struct{ public, inside []*ops.Server }

func newListeners(config Config, handler http.Handler, logger zerolog.Logger) *listeners {
	base := ops.ServerConfig{
		Name: "gateway", Flag: "--listen", Handler: handler, Logger: logger, H2C: true,
		WrapListener: StrictListener, ConnContext: StrictContext,
	}
	inside := base
	inside.Name, inside.Flag, inside.ConnContext = "gateway-inside", "--inside-listen", insideContext
	return &listeners{public: newServers(config.Listen, base), inside: newServers(config.InsideListen, inside)}
}

func newServers(addresses []string, config ops.ServerConfig) []*ops.Server {
	servers := make([]*ops.Server, 0, len(addresses))
	for _, address := range addresses {
		config.Addr = address
		servers = append(servers, ops.NewServer(config))
	}
	return servers
}

func (l *listeners) all() []*ops.Server {
	return append(l.public[:len(l.public):len(l.public)], l.inside...)
}

// Listen opens all ports.
func (l *listeners) Listen(ctx context.Context) error {
	if len(l.public) == 0 {
		return errors.New("--listen is empty: want at least one host:port, such as 127.0.0.1:5000")
	}
	for _, server := range l.all() {
		if err := server.Listen(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Run serves on all addresses until take ends, or one of them fails: then the others drain too. It has the form of an ops.Stage.
func (l *listeners) Run(take, work context.Context) error {
	if err := l.Listen(take); err != nil {
		return err
	}
	take, stop := context.WithCancel(take)
	defer stop()
	servers := l.all()
	failures := make([]error, len(servers)) // each belongs to one goroutine until running has ended
	var running sync.WaitGroup
	for i, server := range servers {
		running.Go(func() {
			defer stop()
			failures[i] = server.Run(take, work)
		})
	}
	running.Wait()
	return errors.Join(failures...)
}

// firstAddr is host:port of the first of the servers, empty without one.
func firstAddr(servers []*ops.Server) string {
	if len(servers) == 0 {
		return ""
	}
	return servers[0].Addr().String()
}

type insideKey struct{}

// insideContext is the http.Server's ConnContext of a listener whose callers are inside.
func insideContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(StrictContext(ctx, conn), insideKey{}, true)
}

// cameInside reports whether the request came through such a listener.
func cameInside(r *http.Request) bool { return r.Context().Value(insideKey{}) != nil }
