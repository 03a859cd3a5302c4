package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// webSocketEcho is a function that sends back each message.
func webSocketEcho(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	for {
		kind, message, err := ws.Read(r.Context())
		if err != nil || ws.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

func (f *fixture) webSocket(ctx context.Context, path string) (*websocket.Conn, *http.Response) {
	f.t.Helper()
	ws, answer, err := websocket.Dial(ctx, "ws://"+f.Addr()+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = ws.CloseNow() })
	return ws, answer
}

func exchange(t testing.TB, ws *websocket.Conn, message string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	defer cancel()
	if err := ws.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := ws.Read(ctx); err != nil || string(got) != message {
		t.Fatalf("%q came back for %q, %v", got, message, err)
	}
}

// TestWebSocketThroughTheGateway: also the whole gateway, also to a function that has to start; a shutdown waits for it.
func TestWebSocketThroughTheGateway(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	go func() {
		f.held("f", 1)
		f.serve("f", webSocketEcho)
	}()
	ws, answer := f.webSocket(t.Context(), "/function/f/chat?room=1")
	checkStamps(t, "101", result{Response: answer}, true)
	for i := range 20 {
		exchange(t, ws, strings.Repeat("GET / HTTP/1.1\n", i))
	}
	f.stopTaking()
	eventually(t, "no new connections", func() bool {
		_, err := f.client.Get(f.url("/health"))
		return err != nil
	})
	exchange(t, ws, "still here")
	select {
	case err := <-f.ended:
		t.Fatalf("Run returned with %v while a call was in flight", err)
	default:
	}
	_ = ws.Close(websocket.StatusNormalClosure, "")
	if err := wait(t, "Run to return", f.ended); err != nil {
		t.Error(err)
	}
	if n := f.value(t, "sluice_calls_total", "outcome", "1xx"); n != 1 {
		t.Errorf("%v switches are counted", n)
	}
}

// TestShutdownInterruptsWebSockets when its patience ends.
func TestShutdownInterruptsWebSockets(t *testing.T) {
	f := start(t)
	f.serve("f", webSocketEcho)
	ws, _ := f.webSocket(t.Context(), "/function/f")
	exchange(t, ws, "hello")
	f.stopTaking()
	f.interrupt()
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	if _, _, err := ws.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the connection ended with %v", err)
	}
	if err := wait(t, "Run to return", f.ended); err != nil {
		t.Error(err)
	}
}

// TestServerSentEvents: each event arrives when it is sent, and hanging up ends the call.
func TestServerSentEvents(t *testing.T) {
	f := start(t)
	send, gone := make(chan string), make(chan struct{})
	f.serve("f", func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case event := <-send:
				fmt.Fprintf(w, "data: %s\n\n", event)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	ctx, hangUp := context.WithCancel(t.Context())
	answer := must(f.client.Do(f.request("GET", "/function/f", "").WithContext(ctx)))(t)
	defer answer.Body.Close()
	checkStamps(t, "SSE", result{Response: answer}, false)
	events := bufio.NewReader(answer.Body)
	for i := range 10 {
		send <- fmt.Sprint(i)
		line := must(events.ReadString('\n'))(t)
		_ = must(events.ReadString('\n'))(t)
		if line != fmt.Sprintf("data: %d\n", i) {
			t.Errorf("event %d: %q", i, line)
		}
	}
	hangUp()
	wait(t, "the function to see it", gone)
	f.held("f", 0)
}

// TestStreamingBothWays: the answer begins before the body has ended.
func TestStreamingBothWays(t *testing.T) {
	f := start(t)
	f.serve("f", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintln(w, lines.Text())
			_ = http.NewResponseController(w).Flush()
		}
	})
	body, writer := io.Pipe()
	request := f.request("POST", "/function/f", "")
	request.Body, request.ContentLength = body, -1
	go func() { _, _ = io.WriteString(writer, "line 0\n") }()
	answer := must(f.client.Do(request))(t)
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	for i := range 10 {
		if line := must(lines.ReadString('\n'))(t); line != fmt.Sprintf("line %d\n", i) {
			t.Fatalf("%q", line)
		}
		fmt.Fprintf(writer, "line %d\n", i+1)
	}
	_ = writer.Close()
}

// TestEarlyHints arrive before the answer, which comes whole all the same.
func TestEarlyHints(t *testing.T) {
	f := start(t)
	f.serve("f", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "body")
	})
	conn, answers := dial(t, f.Addr())
	say(t, conn, "GET /function/f HTTP/1.1\r\nHost: a\r\n\r\n")
	if hints := readAnswer(t, answers); hints.StatusCode != http.StatusEarlyHints || hints.Header.Get("Link") == "" {
		t.Errorf("%s %v", hints.Status, hints.Header)
	}
	answer := readAnswer(t, answers)
	checkStamps(t, "after hints", answer, false)
	if answer.StatusCode != http.StatusTeapot || answer.body != "body" {
		t.Errorf("%s %q", answer.Status, answer.body)
	}
}

// TestCallerGoneMidCall: the function sees it, and nothing stays in flight.
func TestCallerGoneMidCall(t *testing.T) {
	f := start(t)
	entered, gone := make(chan struct{}), make(chan struct{})
	f.serve("f", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(entered)
		<-r.Context().Done()
		close(gone)
	})
	ctx, hangUp := context.WithCancel(t.Context())
	answers := f.later(f.request("POST", "/function/f", "body").WithContext(ctx))
	wait(t, "the call", entered)
	hangUp()
	wait(t, "the function to see it", gone)
	<-answers
	f.held("f", 0)
	eventually(t, "the outcome", func() bool { return f.value(t, "sluice_calls_total", "outcome", "caller-gone") == 1 })
}

// TestTheGatewayIsStrict: its listener and its handler are those of strict.go, and a refusal is a problem.
func TestTheGatewayIsStrict(t *testing.T) {
	f := start(t)
	f.serve("f", func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s arrived", r.Method, r.RequestURI) })
	const next = "GET /function/f/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	ours := 0
	for _, entry := range smugglingCorpus {
		text := strings.Replace(entry.request, " / ", " /function/f ", 1)
		conn, answers := dial(t, f.Addr())
		_ = conn.SetDeadline(time.Now().Add(testPatience))
		say(t, conn, text+next)
		answer := readAnswer(t, answers)
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", entry.name, answer.Status)
		}
		if answer.Header.Get("Content-Type") == "application/problem+json" {
			ours++
			expectProblem(t, answer, badRequest)
		}
		if rest, _ := io.ReadAll(answers); len(rest) > 0 {
			t.Errorf("%s: the connection went on with %q", entry.name, rest)
		}
	}
	if ours == 0 {
		t.Error("none was refused by us")
	}
	if depth := f.depth("f"); depth != 0 {
		t.Errorf("%d calls are queued", depth)
	}
}
