package dispatcher

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
)

// The tests of this file are named after the lines of SlimFaas's contract that its code and its documents tell in different ways.

// Settled: every header of the caller reaches the function on every verb, and so does a body; Host is the replica's.
func TestSettledHeadersAndBodiesOnEveryVerb(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, answer(200))
	r.put(spec("f", parallel(1, 0)), b)
	sent := http.Header{
		"Cookie": {"a=b", "c=d"}, "Accept": {"text/html"}, "User-Agent": {"mine/1"}, "Authorization": {"Bearer x"}, "Content-Type": {"text/x"},
		"Content-Language": {"fr"}, "Content-Encoding": {"gzip"}, "If-None-Match": {`"1"`}, "Nats-Msg-Id": {"own"}, "X-Forwarded-For": {"192.0.2.1"},
	}
	gone := http.Header{"Connection": {"X-Hop"}, "X-Hop": {"1"}, "Keep-Alive": {"x"}, "X-Slimfaas-Job-Id": {"1"}, "Host": {"evil"}}
	verbs := []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "PROPFIND"}
	for _, verb := range verbs {
		header := sent.Clone()
		for name, values := range gone {
			header[name] = values
		}
		if _, err := r.bus.PublishCall(t.Context(), bus.Call{Function: "f", Method: verb, Path: "/", Header: header, Body: []byte("of " + verb)}); err != nil {
			t.Fatal(err)
		}
	}
	r.dispatch()
	r.awaitEmpty("f")
	calls := b.calls()
	if len(calls) != len(verbs) {
		t.Fatalf("%d attempts", len(calls))
	}
	for i, c := range calls {
		if c.request.Method != verbs[i] || c.body != "of "+verbs[i] || c.request.Host != b.address {
			t.Errorf("%s to %s with %q, want %s", c.request.Method, c.request.Host, c.body, verbs[i])
		}
		for name, values := range sent {
			if fmt.Sprint(c.request.Header[name]) != fmt.Sprint(values) {
				t.Errorf("%s: %s %q, want %q", verbs[i], name, c.request.Header[name], values)
			}
		}
		for name := range gone {
			if c.request.Header[name] != nil {
				t.Errorf("%s: %s %q", verbs[i], name, c.request.Header[name])
			}
		}
	}
}

// Settled: path and query arrive as they were sent.
func TestSettledPathAndQueryAsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, answer(200))
	r.put(spec("f", parallel(1, 0)), b)
	paths := []string{"/", "/a%2Fb", "/a%3Fb%23c", "/end/", "/a//b", "//a", "/x/../y", "/%61", "/a+b", "/é"}
	queries := []string{"", "u=http://x/", "a=%20&b", "a;b", "a=1&a=2", "?"}
	var want []string
	for _, path := range paths {
		for _, query := range queries {
			if _, err := r.bus.PublishCall(t.Context(), bus.Call{Function: "f", Method: "GET", Path: path, Query: query}); err != nil {
				t.Fatal(err)
			}
			if query != "" {
				want = append(want, path+"?"+query)
			} else {
				want = append(want, path)
			}
		}
	}
	r.dispatch()
	r.awaitEmpty("f")
	calls := b.calls()
	if len(calls) != len(want) {
		t.Fatalf("%d attempts of %d calls", len(calls), len(want))
	}
	for i, c := range calls {
		if c.request.RequestURI != want[i] {
			t.Errorf("%q arrived as %q", want[i], c.request.RequestURI)
		}
	}
}

// Settled, and row 26: a redirect is an answer and is not followed; what one answer sets as a cookie is sent by nobody.
func TestRow26NoRedirectNoCookieJar(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := newBackend(t, nil, func(w http.ResponseWriter, req *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "of", Value: "one"})
		http.Redirect(w, req, "/elsewhere", http.StatusTemporaryRedirect)
	})
	r.put(spec("f", parallel(1, 0)), b)
	r.publishMany("f", 3)
	s := r.dispatch()
	r.awaitEmpty("f")
	for _, c := range b.calls() {
		if c.request.URL.Path != "/" || c.request.Header["Cookie"] != nil {
			t.Errorf("%s with cookies %q", c.request.URL.Path, c.request.Header["Cookie"])
		}
	}
	if b.count() != 3 {
		t.Errorf("%d attempts of 3 calls", b.count())
	}
	eventually(t, "they have succeeded", func() bool { return s.counted("sluice_queued_calls_ended_total", "f", "success") == 3 })
}

// A function that declares h2c is called over HTTP/2, with small bodies and with large ones.
func TestCallOverH2C(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	body, sum := large(2 << 20)
	sums, protocols := make(chan string, 2), make(chan string, 2)
	server := httptest.NewUnstartedServer(hashing(sums, func(_ http.ResponseWriter, req *http.Request) { protocols <- req.Proto + " " + req.Method }))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	f := spec("f", parallel(1, 0))
	f.Protocol = function.ProtocolH2C
	endpoint := function.Endpoint{Replica: "f-1", Address: address, Protocol: function.ProtocolH2C}
	if _, err := r.functions.Put(t.Context(), function.State{Function: f, Replicas: 1, Endpoints: []function.Endpoint{endpoint}}); err != nil {
		t.Fatal(err)
	}
	r.publish("f", "small")
	r.publishLarge("f", body)
	r.dispatch()
	r.awaitEmpty("f")
	r.awaitNothingStored()
	if first, second := <-protocols, <-protocols; first != "HTTP/2.0 POST" || second != "HTTP/2.0 PUT" {
		t.Errorf("%s, %s", first, second)
	}
	<-sums
	if got := <-sums; got != sum {
		t.Errorf("the function got %s, want %s", got, sum)
	}
}

// Rules that change while a call is open hold from its next attempt on; a retry that waits uses the new ones, and what is beyond a
// shortened list is the last.
func TestConfigurationChangesLive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	letters := r.deadLetters()
	b := newBackend(t, nil, answer(500))
	r.put(spec("longer", retries(5)), b)
	r.put(spec("shorter", retries(5, 5, 5, 5)), b)
	longer, shorter := r.publish("longer", ""), r.publish("shorter", "")
	r.dispatch()
	r.awaitRecord("longer")
	r.awaitRecord("shorter")
	listed := func(f *function.Function) { f.Configuration.DefaultAsync.HTTPStatusRetries = []int{500} }
	r.put(spec("longer", retries(5, 0, 0), listed), b)
	r.put(spec("shorter", listed), b)
	want := map[string]string{longer: "4", shorter: "2"}
	for range 2 {
		letter := letters.next()
		id := letter.Header.Get("Sluice-Dead-Call-Id")
		if got := letter.Header.Get("Sluice-Dead-Attempts"); got != want[id] {
			t.Errorf("%s: %s attempts, want %s", letter.Subject, got, want[id])
		}
	}
	for _, c := range b.calls() {
		last := map[string]string{longer: "3", shorter: "1"}[c.id]
		if (c.last == "true") != (c.try == last) {
			t.Errorf("attempt %s of %s: last %s", c.try, c.id, c.last)
		}
	}
}
