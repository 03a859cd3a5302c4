package bus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// endless is an output without an end, which counts what is read of it and whether it is closed.
type endless struct {
	read   atomic.Int64
	closed chan struct{}
	once   sync.Once
}

func newEndless() *endless { return &endless{closed: make(chan struct{})} }

func (e *endless) Read(p []byte) (int, error) {
	e.read.Add(int64(len(p)))
	return len(p), nil
}

func (e *endless) Close() error {
	e.once.Do(func() { close(e.closed) })
	return nil
}

func endlessOf(e *endless) opener {
	return func(_ context.Context, request LogRequest) (io.ReadCloser, error) {
		switch request.RunID {
		case "endless":
			return e, nil
		case "short":
			return io.NopCloser(strings.NewReader("short")), nil
		}
		return nil, ErrNoLog
	}
}

// Who reads slowly is waited for: no more is read of the output than what is on its way, and others are not held up.
func TestSlowReaderOfOutput(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	output := newEndless()
	serveLogs(t, connectOnly(t, server.URL()), endlessOf(output))
	b := connectOnly(t, server.URL())
	slow := openLog(t, within(t, patience), b, "endless")
	if _, err := io.ReadFull(slow, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(openLog(t, within(t, patience), b, "short")); err != nil || string(got) != "short" {
		t.Errorf("another reader: %q, %v", got, err)
	}
	<-time.After(quiet)
	if read := output.read.Load(); read > 3*logChunk {
		t.Errorf("%d bytes were read for one who has read 10", read)
	}
	if _, err := io.CopyN(io.Discard, slow, 10*logChunk); err != nil {
		t.Errorf("it does not go on: %v", err)
	}
}

// An output is closed when its reader leaves, is gone without a word, or its wait is over.
func TestOutputIsClosed(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*testing.T, *Bus, io.ReadCloser, context.CancelFunc){
		"closed": func(_ *testing.T, _ *Bus, r io.ReadCloser, _ context.CancelFunc) { _ = r.Close() },
		"killed": func(_ *testing.T, b *Bus, _ io.ReadCloser, _ context.CancelFunc) { b.conn.Close() },
		"cancelled": func(t *testing.T, _ *Bus, r io.ReadCloser, cancel context.CancelFunc) {
			cancel()
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			_ = r.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := bustest.Start(t)
			output := newEndless()
			idle := time.Hour
			if name == "killed" { // nobody tells
				idle = 2 * time.Second
			}
			s, _ := serveLogs(t, connectOnly(t, server.URL()), endlessOf(output), func(s *logServer) { s.idle = idle })
			b := connectOnly(t, server.URL())
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r := openLog(t, ctx, b, "endless")
			if _, err := io.CopyN(io.Discard, r, 3*logChunk); err != nil {
				t.Fatal(err)
			}
			leave(t, b, r, cancel)
			next(t, output.closed)
			eventually(t, "its place is free", func() bool { return len(s.places) == 0 })
		})
	}
}

// More than so many readers are refused; a place that is left is given again.
func TestPlacesOfReadersAreBounded(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	serveLogs(t, connectOnly(t, server.URL()), endlessOf(newEndless()), func(s *logServer) { s.places = make(chan struct{}, 2) })
	b := connectOnly(t, server.URL())
	first := openLog(t, within(t, patience), b, "endless")
	openLog(t, within(t, patience), b, "endless")
	if _, err := b.OpenLog(within(t, patience), LogRequest{Definition: "j", RunID: "endless"}); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNoLog) {
		t.Errorf("one more: %v", err)
	}
	_ = first.Close()
	eventually(t, "there is a place again", func() bool {
		r, err := b.OpenLog(within(t, patience), LogRequest{Definition: "j", RunID: "endless"})
		if err == nil {
			_ = r.Close()
		}
		return err == nil
	})
}

// When the jobrunner ends, its readers are told so: those who wait for output, and those who do not.
func TestReadersOfAJobrunnerThatEnds(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	quietOutput, write := io.Pipe()
	defer func() { _ = write.Close() }()
	_, stop := serveLogs(t, connectOnly(t, server.URL()), func(ctx context.Context, request LogRequest) (io.ReadCloser, error) {
		if request.RunID == "quiet" {
			return quietOutput, nil
		}
		return endlessOf(newEndless())(ctx, request)
	})
	b := connectOnly(t, server.URL())
	waiting, idle := openLog(t, within(t, patience), b, "quiet"), openLog(t, within(t, patience), b, "endless")
	if _, err := io.CopyN(io.Discard, idle, logChunk); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, waiting)
		ended <- err
	}()
	<-time.After(quiet) // it asks meanwhile
	stop()
	if err := next(t, ended); !errors.Is(err, ErrLogLost) {
		t.Errorf("who waits: %v", err)
	}
	if _, err := io.Copy(io.Discard, idle); !errors.Is(err, ErrLogLost) {
		t.Errorf("who does not: %v", err)
	}
	other := texts(map[string][]byte{"quiet": []byte("of another jobrunner")})
	serveLogs(t, connectOnly(t, server.URL()), other)
	if got, err := io.ReadAll(openLog(t, within(t, patience), b, "quiet")); err != nil || string(got) != "of another jobrunner" {
		t.Errorf("opened again: %q, %v", got, err)
	}
}

// Nothing is sent to a subject that is not a reader's, whoever asks for it: what a job writes would be a value of another service there.
func TestOutputIsSentToReadersAlone(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	opened := make(chan LogRequest, 10)
	s, _ := serveLogs(t, connectOnly(t, server.URL()), func(_ context.Context, request LogRequest) (io.ReadCloser, error) {
		if request.Definition == "j" {
			opened <- request
		}
		return io.NopCloser(strings.NewReader("output")), nil
	})
	b := connectOnly(t, server.URL())
	all := make(chan *nats.Msg, 1_000)
	sub, err := b.conn.ChanSubscribe(">", all)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	ask := string(mustMarshal(t, LogRequest{Definition: "j", RunID: "1"}))
	if err := b.conn.Publish("sluice.joblog.j.1", []byte(ask)); err != nil {
		t.Fatal(err)
	}
	for _, reply := range []string{"$KV.sluice-functions.f", "sluice.wake.f", "sluice.joboutput", "sluice.joboutput.a.b", "_INBOX.x"} {
		if err := b.conn.PublishRequest("sluice.joblog.j.1", reply, []byte(ask)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.conn.PublishRequest("sluice.joblog.i.1", "sluice.joboutput.last", []byte(ask)); err != nil { // of another job than it says
		t.Fatal(err)
	}
	for {
		msg := next(t, all)
		if strings.HasPrefix(msg.Subject, "sluice.joblog.") {
			continue
		}
		if msg.Subject != "sluice.joboutput.last" || msg.Header.Get(headerLogError) != logFailed {
			t.Errorf("%s was sent %q %v", msg.Subject, msg.Data, msg.Header)
		}
		break
	}
	if len(opened) > 0 || len(s.places) > 0 {
		t.Errorf("%d were opened", len(opened))
	}
}

// Of several who serve, as while the lead changes, one does.
func TestOneJobrunnerServesAReader(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	want := map[string][]byte{"1": randomBytes(5*logChunk, 1)}
	first, _ := serveLogs(t, connectOnly(t, server.URL()), texts(want))
	second, _ := serveLogs(t, connectOnly(t, server.URL()), texts(want))
	b := connectOnly(t, server.URL())
	for range 10 {
		r := openLog(t, within(t, patience), b, "1")
		if n := len(first.places) + len(second.places); n != 1 {
			t.Errorf("%d serve it", n)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want["1"]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		_ = r.Close()
		eventually(t, "it has left", func() bool { return len(first.places)+len(second.places) == 0 })
	}
}

// runningLogs serves output until cancel, as a service does.
func runningLogs(t *testing.T, b *Bus, open opener) (ctx context.Context, cancel func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.ServeLogs(ctx, open) }()
	return ctx, func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
