package gateway

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// newTestListeners serve handler on so many addresses of each kind.
func newTestListeners(public, inside int, handler http.HandlerFunc) *listeners {
	ports := func(count int) []string { return strings.Fields(strings.Repeat("127.0.0.1:0 ", count)) }
	return newListeners(Config{Listen: ports(public), InsideListen: ports(inside)}, Strict(handler, refuseHead), zerolog.Nop())
}

// runListeners runs them until the test ends, or one of the contexts of the returned functions.
func runListeners(t *testing.T, l *listeners) (stopTaking func(), ended <-chan error) {
	t.Helper()
	if err := l.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	work, interrupt := context.WithCancel(context.Background())
	take, stop := context.WithCancel(work)
	done := make(chan error, 1)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		done <- l.Run(take, work)
	}()
	t.Cleanup(func() {
		interrupt()
		<-finished
	})
	return stop, done
}

func fetchText(t *testing.T, address string) result {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	request := must(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil))(t)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return result{err: err}
	}
	_ = answer.Body.Close()
	return result{Response: answer}
}

// TestSeveralListeners serve the same, know which callers are inside, and drain together.
func TestSeveralListeners(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	l := newTestListeners(2, 2, func(w http.ResponseWriter, r *http.Request) {
		if cameInside(r) {
			w.Header().Set("Inside", "yes")
		}
		if r.Header.Get("Wait") != "" {
			close(entered)
			<-finish
		}
	})
	stopTaking, ended := runListeners(t, l)
	addresses := map[string]bool{}
	for i, server := range l.all() {
		address := server.Addr().String()
		addresses[address] = true
		if answer := fetchText(t, address); answer.err != nil || (answer.Header.Get("Inside") != "") != (i >= 2) {
			t.Errorf("listener %d: %+v", i, answer)
		}
	}
	if len(addresses) != 4 || firstAddr(l.public) != l.public[0].Addr().String() || firstAddr(l.inside) != l.inside[0].Addr().String() || firstAddr(nil) != "" {
		t.Errorf("addresses %v", addresses)
	}
	answered := make(chan result, 1)
	conn, answers := dial(t, firstAddr(l.inside))
	say(t, conn, "GET / HTTP/1.1\r\nHost: a\r\nWait: yes\r\n\r\n")
	go func() { answered <- readAnswer(t, answers) }()
	<-entered
	stopTaking()
	for address := range addresses {
		eventually(t, "every listener to be closed", func() bool { return fetchText(t, address).err != nil })
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended with a request in flight: %v", err)
	default:
	}
	close(finish)
	if answer := wait(t, "the answer", answered); answer.StatusCode != http.StatusOK {
		t.Errorf("%s", answer.Status)
	}
	if err := wait(t, "the end", ended); err != nil {
		t.Error(err)
	}
}

// TestListenerMistakes name the flag, the value and what would be right.
func TestListenerMistakes(t *testing.T) {
	taken, _ := dial(t, backend(t, func(http.ResponseWriter, *http.Request) {}))
	used := taken.RemoteAddr().String()
	for want, config := range map[string]Config{
		"--listen is empty":              {},
		`--listen "": want host:port`:    {Listen: []string{"127.0.0.1:0", ""}},
		`--listen "5000": want host`:     {Listen: []string{"5000"}},
		"choose another with --listen":   {Listen: []string{"127.0.0.1:0", used}},
		`--inside-listen "x": want host`: {Listen: []string{"127.0.0.1:0"}, InsideListen: []string{"x"}},
		"another with --inside-listen":   {Listen: []string{"127.0.0.1:0"}, InsideListen: []string{used}},
	} {
		if err := newListeners(config, http.NotFoundHandler(), zerolog.Nop()).Run(t.Context(), t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", config, err, want)
		}
	}
}
