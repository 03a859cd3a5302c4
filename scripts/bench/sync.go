package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sluicefaas/sluice/pkg/function"
)

const syncConnections = 32

// measureSync compares the sync proxy with the backend itself and with nginx, for the record.
func measureSync(ctx context.Context, b *bench) error {
	backend, addresses, err := b.startRole(ctx, roleBackend)
	if err != nil {
		return err
	}
	defer backend.stop()
	s, err := b.startForSync(ctx, addresses[0])
	if err != nil {
		return err
	}
	defer s.child.stop()
	l := load{connections: syncConnections, wantStatus: http.StatusOK, window: b.window()}
	sides := []side{
		{"sluice", func(ctx context.Context, round int) (figure, error) {
			defer s.profiled(ctx, b, fmt.Sprintf("sync-%d", round), l.window)()
			return l.asking(ctx, s.child, s.api, "/function/f"+pathKiB)
		}},
		{"direct", func(ctx context.Context, _ int) (figure, error) {
			return l.asking(ctx, backend, addresses[0], pathKiB)
		}},
	}
	nginx, address, err := b.startNginx(ctx, addresses[0])
	if err != nil {
		return err
	}
	if nginx == nil {
		b.skip("sync beside nginx: there is no nginx in PATH")
	} else {
		defer nginx.stop()
		sides = append(sides, side{"nginx", func(ctx context.Context, _ int) (figure, error) {
			return l.asking(ctx, nil, address, pathKiB)
		}})
	}
	what := fmt.Sprintf("sync, %d connections, 1 KiB answers", syncConnections)
	rates, err := b.inTurn(ctx, what, sides...)
	if err != nil {
		return err
	}
	b.addRatio(what+", beside the backend itself", rates[0], rates[1], 0)
	if nginx != nil {
		b.addRatio(what+", beside nginx", rates[0], rates[2], 0)
	}
	return nil
}

func (b *bench) startForSync(ctx context.Context, backend string) (*sluice, error) {
	data, err := b.folder("data")
	if err != nil {
		return nil, err
	}
	manifests, err := b.writeManifests(manifest{"f", map[string]string{function.KeyLocalURL: backend}})
	if err != nil {
		return nil, err
	}
	return b.startSluice(ctx, data, manifests)
}

func (l load) asking(ctx context.Context, server *child, address, path string) (figure, error) {
	l.server, l.address, l.request = server, address, get(address, path)
	return l.run(ctx)
}

// nginxConfig keeps connections to both sides, logs nothing, and has one worker for each of two cores.
const nginxConfig = `daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  upstream backend { server %[2]s; keepalive 128; keepalive_requests 100000000; }
  server {
    listen %[3]s;
    location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`

// startNginx returns nil if this machine has none.
func (b *bench) startNginx(ctx context.Context, backend string) (*child, string, error) {
	binary, err := exec.LookPath("nginx")
	if err != nil {
		return nil, "", nil //nolint:nilerr // that is the answer
	}
	folder, err := b.folder("nginx")
	if err != nil {
		return nil, "", err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, "", err
	}
	address, config := net.JoinHostPort("127.0.0.1", port), filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, folder, backend, address), 0o600); err != nil {
		return nil, "", err
	}
	c, err := startChild(ctx, binary, "-p", folder, "-e", filepath.Join(folder, "error.log"), "-c", config)
	if err != nil {
		return nil, "", err
	}
	err = waitFor(ctx, childStart, func() bool {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		return err == nil && conn.Close() == nil
	})
	if err != nil {
		c.stop()
		return nil, "", fmt.Errorf("wait for nginx: %w", err)
	}
	return c, address, nil
}
