package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// opener is what ServeLogs gets.
type opener func(ctx context.Context, request LogRequest) (io.ReadCloser, error)

// serveLogs serves until stop, or the end of the test.
func serveLogs(t *testing.T, b *Bus, open opener, changes ...func(*logServer)) (s *logServer, stop func()) {
	t.Helper()
	s = &logServer{bus: b, open: open, places: make(chan struct{}, maxLogSessions), idle: logIdle, beat: logBeat}
	for _, change := range changes {
		change(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	probe := connectOnly(t, b.config.URL)
	eventually(t, "output is served", func() bool {
		r, err := probe.OpenLog(within(t, patience), LogRequest{Definition: "probe", RunID: "probe"})
		if err == nil {
			_ = r.Close()
		}
		return !errors.Is(err, ErrNoLog) || !strings.Contains(err.Error(), "no jobrunner leads")
	})
	eventually(t, "the probe has left", func() bool { return len(s.places) == 0 })
	return s, stop
}

// texts opens an output that is there as a whole, by run; others have none.
func texts(outputs map[string][]byte) opener {
	return func(_ context.Context, request LogRequest) (io.ReadCloser, error) {
		output, ok := outputs[request.RunID]
		if !ok {
			return nil, fmt.Errorf("%w: the pod has not begun", ErrNoLog)
		}
		return io.NopCloser(bytes.NewReader(output)), nil
	}
}

func openLog(t testing.TB, ctx context.Context, b *Bus, run string) io.ReadCloser { //nolint:revive // t comes first, as everywhere here
	t.Helper()
	r, err := b.OpenLog(ctx, LogRequest{Definition: "j", RunID: run, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestWholeOutputIsRead(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	want := map[string][]byte{"empty": {}, "short": []byte("a line\n"), "exact": randomBytes(logChunk, 1), "long": randomBytes(20*logChunk+7, 2)}
	s, _ := serveLogs(t, connectOnly(t, server.URL()), texts(want))
	b := connectOnly(t, server.URL())
	var all sync.WaitGroup
	for run, output := range want {
		for range 4 {
			all.Go(func() {
				r, err := b.OpenLog(within(t, patience), LogRequest{Definition: "j", RunID: run})
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(got, output) {
					t.Errorf("%s: %d bytes of %d, %v", run, len(got), len(output), err)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	eventually(t, "the places are free again", func() bool { return len(s.places) == 0 })
}

// What a request asks for comes to who opens the output.
func TestLogRequestArrives(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	got := make(chan LogRequest, 10)
	serveLogs(t, connectOnly(t, server.URL()), func(_ context.Context, request LogRequest) (io.ReadCloser, error) {
		if request.Definition == "j" {
			got <- request
		}
		return nil, ErrNoLog
	})
	want := LogRequest{Definition: "j", RunID: "1", Pod: "p", Container: "c", TailLines: 7, Follow: true, Start: 2}
	if _, err := connectOnly(t, server.URL()).OpenLog(within(t, patience), want); !errors.Is(err, ErrNoLog) {
		t.Error(err)
	}
	if request := next(t, got); request != want {
		t.Errorf("got %+v", request)
	}
}

// An output that is still written comes as it is written, and ends with it.
func TestOutputIsFollowed(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	output, write := io.Pipe()
	serveLogs(t, connectOnly(t, server.URL()), func(_ context.Context, request LogRequest) (io.ReadCloser, error) {
		if request.Definition != "j" {
			return nil, ErrNoLog
		}
		return output, nil
	}, func(s *logServer) { s.beat = 20 * time.Millisecond })
	r := openLog(t, within(t, patience), connectOnly(t, server.URL()), "1")
	for i := range 5 {
		line := fmt.Sprintf("line %d\n", i)
		go func() { _, _ = io.WriteString(write, line) }()
		got := make([]byte, len(line))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != line {
			t.Fatalf("got %q, %v", got, err)
		}
		<-time.After(60 * time.Millisecond) // longer than a beat: nothing comes meanwhile
	}
	go func() { _ = write.Close() }()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("at the end %q, %v", rest, err)
	}
}

func TestOutputThatIsNotThere(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connectOnly(t, server.URL())
	awaitConnection(t, b)
	start := time.Now()
	if _, err := b.OpenLog(within(t, unhurried), LogRequest{Definition: "j", RunID: "1"}); !errors.Is(err, ErrNoLog) || time.Since(start) > soon {
		t.Errorf("nobody leads: %v after %v", err, time.Since(start))
	}
	serveLogs(t, connectOnly(t, server.URL()), func(_ context.Context, request LogRequest) (io.ReadCloser, error) {
		switch request.RunID {
		case "none":
			return nil, fmt.Errorf("%w: the pod has not begun", ErrNoLog)
		case "broken":
			return io.NopCloser(io.MultiReader(strings.NewReader("a part"), iotestError("the node is gone"))), nil
		}
		return nil, errors.New("the kubelet is away")
	})
	if _, err := b.OpenLog(within(t, patience), LogRequest{Definition: "j", RunID: "none"}); !errors.Is(err, ErrNoLog) || !strings.Contains(err.Error(), "has not begun") {
		t.Errorf("no pod: %v", err)
	}
	if _, err := b.OpenLog(within(t, patience), LogRequest{Definition: "j", RunID: "1"}); errors.Is(err, ErrNoLog) || err == nil || !strings.Contains(err.Error(), "the kubelet is away") {
		t.Errorf("an error: %v", err)
	}
	got, err := io.ReadAll(openLog(t, within(t, patience), b, "broken"))
	if string(got) != "a part" || err == nil || !strings.Contains(err.Error(), "the node is gone") {
		t.Errorf("an error in the middle: %q, %v", got, err)
	}
	for _, wrong := range []LogRequest{{}, {Definition: "j"}, {Definition: "*", RunID: "1"}, {Definition: "j", RunID: "a.b"}, {Definition: "j k", RunID: "1"}} {
		if _, err := b.OpenLog(within(t, unhurried), wrong); !errors.Is(err, ErrNoLog) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}

// startedOutput is that of the third start of its container.
type startedOutput struct{ io.ReadCloser }

func (startedOutput) Start() int { return 3 }

// A reader is told of which start of its container an output is.
func TestStartOfAnOutput(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	b := connectOnly(t, server.URL())
	awaitConnection(t, b)
	if _, err := b.OpenLog(within(t, unhurried), LogRequest{Definition: "j", RunID: "1"}); !errors.Is(err, ErrNoJobrunner) || !errors.Is(err, ErrNoLog) {
		t.Errorf("nobody leads: %v", err)
	}
	serveLogs(t, connectOnly(t, server.URL()), func(_ context.Context, request LogRequest) (io.ReadCloser, error) {
		output := io.NopCloser(strings.NewReader("text"))
		switch {
		case request.Start > 3:
			return nil, ErrNoLog
		case request.RunID == "numbered":
			return startedOutput{output}, nil
		}
		return output, nil
	})
	for run, want := range map[string]int{"numbered": 3, "whole": 0} {
		r, err := b.OpenLog(within(t, patience), LogRequest{Definition: "j", RunID: run, Start: 3})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(r); r.Start != want || string(text) != "text" || err != nil {
			t.Errorf("%s: start %d of %q, %v", run, r.Start, text, err)
		}
		_ = r.Close()
	}
	if _, err := b.OpenLog(within(t, patience), LogRequest{Definition: "j", RunID: "numbered", Start: 4}); !errors.Is(err, ErrNoLog) || errors.Is(err, ErrNoJobrunner) {
		t.Errorf("another start: %v", err)
	}
}

// iotestError is a reader that fails.
type iotestError string

func (e iotestError) Read([]byte) (int, error) { return 0, errors.New(string(e)) }

// An output is read as it is although the server is restarted meanwhile, or its answers are lost.
func TestOutputIsReadAcrossRestarts(t *testing.T) {
	t.Parallel()
	server := bustest.Start(t)
	proxy := startDeafProxy(t, server)
	want := randomBytes(60*logChunk, 3)
	serveLogs(t, connectOnly(t, server.URL()), texts(map[string][]byte{"1": want}))
	r := openLog(t, within(t, unhurried), connectOnly(t, proxy.url(), patient), "1")
	var got bytes.Buffer
	for i := range 6 {
		if _, err := io.CopyN(&got, r, 9*logChunk+100); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			proxy.deaf.Store(true)
		} else {
			server.Stop()
			server.Start()
		}
	}
	if _, err := io.Copy(&got, r); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes of %d, or others: %v", got.Len(), len(want), err)
	}
}

// Who reads and who serves need not be connected to the same server.
func TestOutputIsReadOnACluster(t *testing.T) {
	t.Parallel()
	cluster := bustest.StartCluster(t, 3)
	want := randomBytes(10*logChunk, 4)
	serveLogs(t, connectOnly(t, cluster.Servers[0].URL()), texts(map[string][]byte{"1": want}))
	for _, server := range cluster.Servers {
		b := connectOnly(t, server.URL())
		var r io.ReadCloser
		eventually(t, "the servers know of each other's clients", func() (opened bool) {
			var err error
			r, err = b.OpenLog(within(t, patience), LogRequest{Definition: "j", RunID: "1"})
			return err == nil
		})
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
		}
		_ = r.Close()
	}
}
