package serve_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/deploy/demo/serve"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServeLetsCallsEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	entered, release := make(chan struct{}), make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- serve.Serve(ctx, listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-release
			_, _ = io.WriteString(w, "done")
		}))
	}()
	answered := make(chan string, 1)
	go func() { answered <- get(t, "http://"+listener.Addr().String()+"/work") }()
	<-entered
	stop()
	requireRefused(t, listener.Addr().String())
	close(release)
	if body := <-answered; body != "done" {
		t.Errorf("the call that ran was answered with %q", body)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// requireRefused waits until nothing listens any more.
func requireRefused(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		_ = connection.Close()
	}
	t.Fatal("connections are still accepted")
}

func get(t *testing.T, url string) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

func TestHealth(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serve.Serve(ctx, listener, http.NotFoundHandler()) }()
	if body := get(t, "http://"+listener.Addr().String()+"/health"); body != "OK\n" {
		t.Errorf("got %q", body)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestQueryRefusesWhatIsOutOfRange(t *testing.T) {
	for query, want := range map[string]string{
		"":       "",
		"n=3":    "",
		"n=11":   `the parameter n="11" must be a whole number from 0 to 10`,
		"n=x":    `the parameter n="x" must be a whole number from 0 to 10`,
		"s=NaN":  `the parameter s="NaN" must be a number of seconds from 0 to 60`,
		"s=-1":   `the parameter s="-1" must be a number of seconds from 0 to 60`,
		"s=0.5":  "",
		"d=2m":   `the parameter d="2m" must be a duration such as 1.5s, at most 1m0s`,
		"d=10ms": "",
	} {
		recorder := httptest.NewRecorder()
		q := serve.NewQuery(httptest.NewRequest(http.MethodGet, "/?"+query, nil))
		q.Whole("n", 1, 0, 10)
		q.Seconds("s", 0, time.Minute)
		q.Duration("d", 0, time.Minute)
		if q.Refused(recorder) != (want != "") || strings.TrimSpace(recorder.Body.String()) != want {
			t.Errorf("%s: got %q", query, recorder.Body)
		}
	}
}

func TestBodyIsLimited(t *testing.T) {
	recorder := httptest.NewRecorder()
	_, ok := serve.Body(recorder, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 1<<20+1))))
	if ok || recorder.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("got %v, %d", ok, recorder.Code)
	}
}
