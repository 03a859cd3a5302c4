package gateway

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// open queues a call of the function and makes it one that the function has taken over, as the dispatcher does.
func (f *fixture) open(name, endpoint string) (attempts *bus.Attempts, id string) {
	f.t.Helper()
	attempts = must(f.bus.OpenAttempts(f.t.Context()))(f.t)
	eventually(f.t, "the gateway to see the records", func() bool { return f.attempts.Load() != nil })
	id = f.send("POST", "/async-function/"+name, "body").Header.Get("X-Call-Id")
	attempt := bus.Attempt{Until: time.Now().Add(time.Hour), Endpoint: endpoint}
	if _, err := attempts.Open(f.t.Context(), name, id, attempt); err != nil {
		f.t.Fatal(err)
	}
	return attempts, id
}

func callbackPath(name, id, word string) string {
	return "/async-function-callback/" + name + "/" + id + "/" + word
}

func TestCallback(t *testing.T) {
	f := start(t)
	f.put(state("f", "127.0.0.1:1")) // the tests call from a replica's address
	for _, word := range []string{bus.CallbackSuccess, bus.CallbackError} {
		attempts, id := f.open("f", "127.0.0.1:1")
		heard := make(chan string, 10)
		stop := must(f.bus.OnCallback(func(_, id string) { heard <- id }))(t)
		defer stop()
		for range 2 { // a repeated one is the same
			if answer := f.send("POST", callbackPath("f", id, word), "ignored"); answer.StatusCode != http.StatusOK || answer.body != "" {
				t.Fatalf("%s: %s %s", word, answer.Status, answer.body)
			}
		}
		if got := wait(t, "the dispatcher to hear it", heard); got != id {
			t.Errorf("%s was heard", got)
		}
		if attempt, ok, err := attempts.Get(t.Context(), "f", id); err != nil || !ok || attempt.Callback != word {
			t.Errorf("%+v %v %v", attempt, ok, err)
		}
		other := bus.CallbackSuccess
		if word == other {
			other = bus.CallbackError
		}
		expectProblem(t, f.send("POST", callbackPath("f", id, other), ""), closedCall)
		f.fetch("f", 1)
		expectProblem(t, f.send("POST", callbackPath("f", id, "done"), ""), badRequest)
		expectProblem(t, f.send("POST", callbackPath("unknown", id, word), ""), unknownFunction)
		expectProblem(t, f.send("GET", callbackPath("f", id, word), ""), wrongMethod)
	}
	for _, id := range []string{"nonsense", "%2e%2e", "a.b", "*", "%3E"} {
		expectProblem(t, f.send("POST", callbackPath("f", id, bus.CallbackSuccess), ""), closedCall)
	}
}

// TestCallbackOfAnotherFunctionsCall: an id is worth nothing without its function.
func TestCallbackOfAnotherFunctionsCall(t *testing.T) {
	f := start(t)
	f.put(state("f", "127.0.0.1:1"))
	f.put(state("g", "127.0.0.1:2"))
	_, id := f.open("f", "127.0.0.1:1")
	expectProblem(t, f.send("POST", callbackPath("g", id, bus.CallbackSuccess), ""), closedCall)
}

// TestCallbackFromOutside is the same as of an unknown function.
func TestCallbackFromOutside(t *testing.T) {
	f := start(t)
	f.put(state("f", "10.0.0.9:80"))
	_, id := f.open("f", "10.0.0.9:80")
	unknown := expectProblem(t, f.send("POST", callbackPath("f", id, bus.CallbackSuccess), ""), unknownFunction)
	if missing := expectProblem(t, f.send("POST", callbackPath("x", id, bus.CallbackSuccess), ""), unknownFunction); len(missing.Detail) != len(unknown.Detail) {
		t.Errorf("%q and %q", unknown.Detail, missing.Detail)
	}
	if answer := f.do(f.fromInside(f.request("POST", callbackPath("f", id, bus.CallbackSuccess), ""))); answer.StatusCode != http.StatusOK {
		t.Errorf("from inside: %s %s", answer.Status, answer.body)
	}
}

// TestCallbackOfAReplicaThatIsNotReady: the one that has taken the call over may end it.
func TestCallbackOfAReplicaThatIsNotReady(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	_, id := f.open("f", "127.0.0.1:1")
	if answer := f.send("POST", callbackPath("f", id, bus.CallbackSuccess), ""); answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s", answer.Status, answer.body)
	}
}

func TestIsHost(t *testing.T) {
	for _, test := range []struct {
		address, host string
		want          bool
	}{
		{"10.0.0.1:80", "10.0.0.1", true}, {"10.0.0.1:80", "::ffff:10.0.0.1", true}, {"[2001:db8::1]:80", "2001:db8::1", true},
		{"10.0.0.1:80", "10.0.0.11", false}, {"10.0.0.11:80", "10.0.0.1", false}, {"name:80", "10.0.0.1", false}, {"", "10.0.0.1", false},
	} {
		if got := isHost(test.address, netip.MustParseAddr(test.host)); got != test.want {
			t.Errorf("%s and %s: %v", test.address, test.host, got)
		}
	}
	if isHost("10.0.0.1:80", netip.Addr{}) || isHost(":80", netip.Addr{}) {
		t.Error("nobody is there")
	}
}
