package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/function"
)

const (
	roleEcho    = "echo"
	roleSleeper = "sleeper"

	acceptHold   = 0.85
	acceptSize   = 1 << 10
	acceptedName = "f"
)

// measureAccept compares the acceptance of async calls with a bare echo handler that publishes and waits for the ack,
// both with their NATS server in their own process.
func measureAccept(ctx context.Context, b *bench) error {
	for _, sync := range []bool{false, true} {
		if err := b.acceptWith(ctx, sync); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) acceptWith(ctx context.Context, sync bool) error {
	bareFolder, err := b.folder("bare")
	if err != nil {
		return err
	}
	bare, addresses, err := b.startRole(ctx, roleEcho, bareFolder, strconv.FormatBool(sync))
	if err != nil {
		return err
	}
	defer bare.stop()
	s, err := b.startForAccept(ctx, sync)
	if err != nil {
		return err
	}
	defer s.child.stop()
	for _, connections := range []int{32, 128} {
		what := fmt.Sprintf("accept, %d connections, %s", connections, policyName(sync))
		l := load{connections: connections, wantStatus: http.StatusAccepted, window: b.window()}
		rates, err := b.inTurn(ctx, what,
			side{"sluice", func(ctx context.Context, round int) (figure, error) {
				defer s.profiled(ctx, b, fmt.Sprintf("accept-%d-%v-%d", connections, sync, round), l.window)()
				return l.onEmptyQueue(ctx, s.child, s.api, s.nats)
			}},
			side{"bare", func(ctx context.Context, _ int) (figure, error) {
				return l.onEmptyQueue(ctx, bare, addresses[0], addresses[1])
			}})
		if err != nil {
			return err
		}
		b.addRatio(what, rates[0], rates[1], acceptHold)
	}
	return nil
}

func policyName(sync bool) string {
	if sync {
		return "sync always"
	}
	return "default sync"
}

// startForAccept starts sluice with a function that never becomes ready, so that its calls stay queued.
func (b *bench) startForAccept(ctx context.Context, sync bool) (*sluice, error) {
	data, err := b.folder("data")
	if err != nil {
		return nil, err
	}
	manifests, err := b.writeManifests(manifest{acceptedName, map[string]string{function.KeyLocalCommand: b.roleCommand(roleSleeper)}})
	if err != nil {
		return nil, err
	}
	return b.startSluice(ctx, data, manifests, "--sync="+strconv.FormatBool(sync), "--start-timeout=10m")
}

// roleCommand is a sluice/LocalCommand that plays a role.
func (b *bench) roleCommand(role string, args ...string) string {
	command := fmt.Sprintf("'%s' %s %s", b.self, childArgument, role)
	for _, arg := range args {
		command += " '" + arg + "'"
	}
	return command
}

// onEmptyQueue purges the queue and makes one round.
func (l load) onEmptyQueue(ctx context.Context, server *child, address, nats string) (figure, error) {
	if err := purge(ctx, nats); err != nil {
		return figure{}, err
	}
	l.server, l.address, l.request = server, address, post(address, "/async-function/"+acceptedName, acceptSize)
	return l.run(ctx)
}

// runSleeper never listens.
func runSleeper([]string) error { select {} }

// runEcho is the bare side: a NATS server, and an echo handler that publishes the body and waits for its ack.
func runEcho(args []string) error {
	url, stop, err := startNATS(args[0], args[1] == "true")
	if err != nil {
		return err
	}
	defer stop()
	conn, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	e := echo.New()
	e.POST("/async-function/:name", func(c echo.Context) error { return publishAndWait(c, js) })
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	go func() { serveUntilStdinEnds(); _ = server.Close() }()
	fmt.Println(listener.Addr(), url)
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func publishAndWait(c echo.Context, js jetstream.JetStream) error {
	body := make([]byte, c.Request().ContentLength)
	if _, err := io.ReadFull(c.Request().Body, body); err != nil {
		return err
	}
	future, err := js.PublishMsgAsync(&nats.Msg{Subject: queue.CallSubject(c.Param("name")), Data: body})
	if err != nil {
		return err
	}
	select {
	case ack := <-future.Ok():
		c.Response().Header().Set("X-Sequence", strconv.FormatUint(ack.Sequence, 10))
		return c.NoContent(http.StatusAccepted)
	case err := <-future.Err():
		return err
	case <-c.Request().Context().Done():
		return c.Request().Context().Err()
	}
}
