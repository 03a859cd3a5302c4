package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// startNATS starts an embedded server with the options of the one in `sluice local`, and makes the same stream in it.
func startNATS(folder string, sync bool) (url string, stop func(), err error) {
	running, err := server.NewServer(&server.Options{
		ServerName: "bare", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
		JetStream: true, StoreDir: folder, SyncAlways: sync,
	})
	if err != nil {
		return "", nil, fmt.Errorf("make a NATS server: %w", err)
	}
	running.Start()
	stop = func() { running.Shutdown(); running.WaitForShutdown() }
	if !running.ReadyForConnections(childStart) {
		stop()
		return "", nil, errors.New("the NATS server does not serve")
	}
	if err := makeQueue(running.ClientURL()); err != nil {
		stop()
		return "", nil, err
	}
	return running.ClientURL(), stop, nil
}

// makeQueue lets the product's own code make the stream, so that it is the same to the last option.
func makeQueue(url string) error {
	b, err := bus.Connect(bus.Config{URL: url, Replicas: 1, Settings: bus.Settings{
		Prefix: queue.Prefix, QueueLimit: queueLimit, PublishPatience: 10 * time.Second,
	}})
	if err != nil {
		return err
	}
	defer b.Close()
	ctx, cancel := context.WithTimeout(context.Background(), childStart)
	defer cancel()
	return b.EnsureCalls(ctx)
}
