package local

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestProbePauseGrows(t *testing.T) {
	t.Parallel()
	for elapsed, want := range map[time.Duration]time.Duration{
		0:                      10 * time.Millisecond,
		200 * time.Millisecond: 10 * time.Millisecond,
		2 * time.Second:        100 * time.Millisecond,
		time.Minute:            200 * time.Millisecond,
	} {
		if got := probePause(elapsed); got != want {
			t.Errorf("the pause after %s is %s, want %s", elapsed, got, want)
		}
	}
}

func TestProbeOfHTTP(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/bad", http.StatusFound)
		case "/slow":
			<-r.Context().Done()
		case "/bad":
			w.WriteHeader(http.StatusInternalServerError)
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 2*maxProbeHeaders))
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	cases := []struct {
		path, scheme string
		ready        bool
	}{
		{"/ok?x=1", "", true}, {"ok", "HTTP", true}, {"/redirect", "", true}, {"/bad", "", false}, {"/slow", "", false},
		{"/headers", "", false}, {"/ok", "HTTPS", true}, {"/bad", "HTTPS", false}, {"/a b\x7f", "", false},
	}
	for _, c := range cases {
		address := plain.Listener.Addr().String()
		if c.scheme == "HTTPS" {
			address = secure.Listener.Addr().String()
		}
		probe := Probe{Path: c.path, Scheme: c.scheme, Timeout: 200 * time.Millisecond}
		if c.ready {
			probe.Timeout = patience
		}
		if err := newProber(probe, address, newProbeClient()).check(t.Context()); (err == nil) != c.ready {
			t.Errorf("probe of %s %s: %v", c.scheme, c.path, err)
		}
	}
}

func TestProbeOfTCP(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	prober := newProber(Probe{}, listener.Addr().String(), newProbeClient())
	if err := prober.check(t.Context()); err != nil {
		t.Error(err)
	}
	_ = listener.Close()
	if prober.check(t.Context()) == nil {
		t.Error("a port without a listener is ready")
	}
}
