package bus

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// Several services start at once, also with other limits than each other.
func TestServicesMakeTheStreamsTogether(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	var services sync.WaitGroup
	start := make(chan struct{})
	for i := range 12 {
		b := connectOnly(t, server.URL(), func(c *Config) { c.Settings.QueueLimit = int64(10 + i) })
		awaitConnection(t, b)
		services.Go(func() {
			<-start
			ctx := within(t, patience)
			calls, dead := b.EnsureCalls(ctx), b.EnsureDead(ctx)
			_, functions := b.OpenFunctions(ctx)
			_, attempts := b.OpenAttempts(ctx)
			if err := errors.Join(calls, dead, functions, attempts); err != nil {
				t.Error(err)
			}
			if b.created.Load() == 0 {
				t.Error("the stream's creation time is not known")
			}
		})
	}
	close(start)
	services.Wait()
}

// What the streams have together is what was given, so that the server has room for all of them.
func TestStorageIsSharedOutWhole(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{16, 1000, 1 << 20, 1<<40 + 7} {
		s := Settings{StorageLimit: limit}.storage()
		if sum := s.calls + s.bodies + s.events + s.jobs + s.logs; sum != limit || s.calls < limit*7/16 || s.bodies != limit*6/16 || s.events != limit/16 || s.jobs != limit/16 || s.logs != limit/16 {
			t.Errorf("%d is shared out as %+v", limit, s)
		}
	}
	if s := (Settings{}).storage(); s != (shares{-1, -1, -1, -1, -1}) {
		t.Errorf("no limit is %+v", s)
	}
}

func TestCallsStreamIsAsDesigned(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t), func(c *Config) { c.Settings.QueueLimit, c.Settings.StorageLimit = 5, 1<<20 })
	stream, err := b.js.Stream(within(t, patience), "sluice-calls")
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	if c.Retention != jetstream.WorkQueuePolicy || c.Storage != jetstream.FileStorage || c.Discard != jetstream.DiscardNew || !c.DiscardNewPerSubject ||
		c.MaxMsgsPerSubject != 5 || c.MaxBytes != 1<<20*7/16 || c.MaxConsumers != maxConsumers || c.AllowRollup || c.AllowMsgTTL || c.AllowMsgSchedules ||
		c.Duplicates < 2*b.config.Settings.PublishPatience || int64(c.MaxMsgSize) != b.maxCallSize() {
		t.Errorf("got %+v", c)
	}
}

func TestChangedLimitsHoldAfterAStart(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	first := connect(t, server)
	publish(t, first, Call{Function: "f"})
	second := connect(t, server, func(c *Config) { c.Settings.QueueLimit = 1 })
	if first.created.Load() != second.created.Load() {
		t.Error("the stream was made anew")
	}
	if _, err := first.PublishCall(within(t, patience), Call{Function: "f", Method: "POST"}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("the new limit does not hold: %v", err)
	}
}

func TestEnsureWaitsForTheServerAndSaysSo(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	server.Stop()
	told := make(chan string, 100)
	b := connectOnly(t, server.URL(), func(c *Config) {
		c.Notify = func(event string, err error) { told <- fmt.Sprint(event, ": ", err) }
	})
	made := make(chan error, 1)
	go func() { made <- b.EnsureCalls(within(t, patience)) }()
	for said := next(t, told); !strings.HasPrefix(said, "the calls stream is not there yet"); said = next(t, told) {
	}
	server.Start()
	if err := <-made; err != nil {
		t.Error(err)
	}
	if b.MaxBody() != 1<<20-maxDeadHeader-maxCallHeader {
		t.Errorf("a body may have %d bytes", b.MaxBody())
	}
}

func TestServerWithoutJetStreamIsNamed(t *testing.T) {
	t.Parallel()
	s := bustest.Start(t, func(o *server.Options) { o.JetStream = false })
	b := connectOnly(t, s.URL())
	if err := b.EnsureCalls(within(t, 5*time.Second)); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "JetStream does not answer: it is not enabled") {
		t.Errorf("got %v", err)
	}
}

// oldServer says that it is of another version and answers pings, nothing else.
func oldServer(t *testing.T, version string) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); connections.Wait() })
	connections.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { answerPings(conn, version) })
		}
	})
	return "nats://" + listener.Addr().String()
}

func answerPings(conn net.Conn, version string) {
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, `INFO {"server_id":"x","version":%q,"proto":1,"headers":true,"max_payload":1048576,"jetstream":true}`+"\r\n", version)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() == "PING" {
			_, _ = fmt.Fprint(conn, "PONG\r\n")
		}
	}
}

func TestOldServerIsRefusedByVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"2.13.9": "it is 2.13.9, Sluice needs 2.14 or newer", "1.99.0": "it is 1.99.0", "0.0.0": "it is 0.0.0",
		"edge": `version "edge" is not understood`, "2.14.0": "", "2.15.0-RC.1": "", "3.0.0": "",
	} {
		b := connectOnly(t, oldServer(t, version))
		awaitConnection(t, b)
		if want == "" {
			if err := b.supported(); err != nil {
				t.Errorf("%s: %v", version, err)
			}
			continue
		}
		start := time.Now()
		if err := b.EnsureCalls(within(t, unhurried)); err == nil || !strings.Contains(err.Error(), want) || time.Since(start) > soon {
			t.Errorf("%s: after %v: %v", version, time.Since(start), err)
		}
		b.Close()
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		`prefix "a.b"`:     func(s *Settings) { s.Prefix = "a.b" },
		`prefix ""`:        func(s *Settings) { s.Prefix = "" },
		"queue limit 0":    func(s *Settings) { s.QueueLimit = 0 },
		"storage limit -1": func(s *Settings) { s.StorageLimit = -1 },
	} {
		config := testConfig("nats://127.0.0.1:1")
		change(&config.Settings)
		if b, err := Connect(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", want, b, err)
		}
	}
}
