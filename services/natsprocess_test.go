package services_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// natsEnv has the address and the folder of a NATS server, for TestMain.
const natsEnv = "SLUICE_TEST_NATS"

// startNATS starts a NATS server that a test can kill, and start again on the same address and folder. Like the chart's, it syncs what it has acknowledged.
func startNATS(t testing.TB) (p *process, url string) {
	t.Helper()
	probe := bustest.Start(t) // finds a port that stays free
	probe.Stop()
	address := strings.TrimPrefix(probe.URL(), "nats://")
	p = startPart(t, "nats", natsEnv, address+" "+t.TempDir())
	eventually(t, "NATS listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return p, probe.URL()
}

// runNATS is that process.
func runNATS(text string) error {
	options := &server.Options{Host: "127.0.0.1", JetStream: true, SyncAlways: true, MaxPayload: 1 << 20, NoLog: true, NoSigs: true}
	if _, err := fmt.Sscanf(text, "127.0.0.1:%d %s", &options.Port, &options.StoreDir); err != nil {
		return fmt.Errorf("read where NATS is to run: %w", err)
	}
	running, err := server.NewServer(options)
	if err != nil {
		return err
	}
	running.Start()
	running.WaitForShutdown()
	return errors.New("the NATS server has ended")
}
