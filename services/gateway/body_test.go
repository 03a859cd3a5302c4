package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// room is what is left of the budget.
func (f *fixture) room() int64 {
	f.budget.mu.Lock()
	defer f.budget.mu.Unlock()
	return f.budget.left
}

// unread fails the test when it is read.
type unread struct{ t testing.TB }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// TestTooLargeBodies: 413 from the length alone, else after one byte too many (row 12).
func TestTooLargeBodies(t *testing.T) {
	f := start(t, func(o *options) { o.config.AsyncBodyLimit = 100_000 })
	f.put(state("f"))
	exact := strings.Repeat("x", 100_000)
	for _, chunked := range []bool{false, true} {
		for body, want := range map[string]int{exact: http.StatusAccepted, exact + "y": http.StatusRequestEntityTooLarge} {
			request := f.request("POST", "/async-function/f", body)
			if chunked {
				request.ContentLength = -1
			}
			answer := f.do(request)
			if answer.StatusCode != want {
				t.Errorf("%d bytes, chunked %v: %s", len(body), chunked, answer.Status)
			}
			if want != http.StatusAccepted {
				expectProblem(t, answer, largeBody)
			} else if got := f.fetch("f", 1)[0]; string(got.Call.Body) != body {
				t.Errorf("%d bytes are queued", len(got.Call.Body))
			}
		}
	}
	conn, answers := dial(t, f.Addr())
	say(t, conn, "POST /async-function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\nExpect: 100-continue\r\n\r\n")
	expectProblem(t, readAnswer(t, answers), largeBody)
	if f.depth("f") != 0 || f.room() != f.config.BodyBudget {
		t.Errorf("depth %d, budget %d", f.depth("f"), f.room())
	}
	request := &http.Request{ContentLength: 1 << 20, Body: io.NopCloser(unread{t})}
	if _, err := f.readBody(nil, request, 100_000, 100_000); err == nil {
		t.Error("a body above the limit was taken")
	}
}

// TestBodyBudget is row 12: many large bodies at once never take more memory than is set aside, and all of it comes back.
func TestBodyBudget(t *testing.T) {
	// A refused body of that size is read by net/http all the same (256 KiB at most): beyond it, the connection is closed, and a caller who is
	// still writing may not get to see the answer.
	const size, room, callers = 200_000, 800_000, 40
	f := start(t, func(o *options) { o.config.BodyBudget = room })
	f.put(state("f"))
	least := int64(room)
	var mu sync.Mutex
	stop := make(chan struct{})
	var running, watching sync.WaitGroup
	watching.Go(func() {
		poll := time.NewTicker(100 * time.Microsecond)
		defer poll.Stop()
		for {
			select {
			case <-stop:
				return
			case <-poll.C:
				least = min(least, f.room())
			}
		}
	})
	statuses := map[int]int{}
	for i := range callers {
		running.Go(func() {
			request := f.request("POST", "/async-function/f", strings.Repeat("x", size))
			if i%2 == 0 {
				request.ContentLength = -1
			}
			answer := f.do(request)
			if answer.StatusCode != http.StatusAccepted {
				expectProblem(t, answer, fullBudget)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[answer.StatusCode]++
		})
	}
	running.Wait()
	close(stop)
	watching.Wait()
	if least < 0 || least == room || f.room() != room || statuses[http.StatusAccepted] == 0 {
		t.Errorf("least room %d, in the end %d of %d, answers %v", least, f.room(), room, statuses)
	}
	if depth := f.depth("f"); depth != uint64(statuses[http.StatusAccepted]) {
		t.Errorf("%d calls are queued, answers %v", depth, statuses)
	}
}

// TestBudgetCountsWhatIsReserved: the memory of a body is taken before it is read.
func TestBudgetCountsWhatIsReserved(t *testing.T) {
	f := start(t, func(o *options) { o.config.BodyBudget = 100_000 })
	f.put(state("f"))
	conn, _ := dial(t, f.Addr())
	say(t, conn, "POST /async-function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nx")
	eventually(t, "the body's memory to be taken", func() bool { return f.room() == 1 })
	expectProblem(t, f.send("POST", "/async-function/f", "xy"), fullBudget)
	if answer := f.send("POST", "/async-function/f", ""); answer.StatusCode != http.StatusAccepted {
		t.Errorf("without a body: %s", answer.Status)
	}
	_ = conn.Close()
	eventually(t, "the body's memory to come back", func() bool { return f.send("POST", "/async-function/f", "xy").StatusCode == http.StatusAccepted })
}

// TestCallerAbortsMidBody: half a body is no call.
func TestCallerAbortsMidBody(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	const post = "POST /async-function/f HTTP/1.1\r\nHost: a\r\n"
	for _, text := range []string{
		post + "Content-Length: 10\r\n\r\nhalf", post + "Content-Length: 10\r\n\r\n", post + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		post + "Transfer-Encoding: chunked\r\n\r\n8\r\nhalf", post + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", post + "Transfer-Encoding: chunked\r\n\r\n",
	} {
		before := f.value(t, "sluice_calls_total", "outcome", "bad-request")
		conn, _ := dial(t, f.Addr())
		say(t, conn, text)
		_ = conn.Close()
		eventually(t, fmt.Sprintf("the end of %q", text), func() bool { return f.value(t, "sluice_calls_total", "outcome", "bad-request") == before+1 })
	}
	if f.depth("f") != 0 || f.room() != f.config.BodyBudget {
		t.Errorf("depth %d, budget %d", f.depth("f"), f.room())
	}
}

// TestSlowBody: its memory is not held for a caller who does not go on.
func TestSlowBody(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	f.pace = 30 * time.Millisecond
	for _, framing := range []string{"Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"} {
		expectProblem(t, f.raw("POST /async-function/f HTTP/1.1\r\nHost: a\r\n"+framing), lateBody)
	}
	if f.depth("f") != 0 || f.room() != f.config.BodyBudget {
		t.Errorf("depth %d, budget %d", f.depth("f"), f.room())
	}
	// The deadline of one body is not that of the connection's next request.
	conn, answers := dial(t, f.Addr())
	for range 2 {
		say(t, conn, "POST /async-function/f HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
		if answer := readAnswer(t, answers); answer.StatusCode != http.StatusAccepted {
			t.Fatalf("%s", answer.Status)
		}
		<-time.After(2 * f.pace)
	}
}

// TestUnreadBodies: a body that nobody wants is read, so that the connection's next request is served.
func TestUnreadBodies(t *testing.T) {
	f := start(t)
	f.put(state("refused", closedAddress(t)))
	f.serve("deaf", func(http.ResponseWriter, *http.Request) {})
	for _, route := range []string{"/async-function/unknown", "/function/unknown", "/function/refused", "/function/deaf", "/status-functions"} {
		conn, answers := dial(t, f.Addr())
		for i := range 6 {
			framing := []string{"Content-Length: 10\r\n\r\nhalf|+ rest", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n|0\r\n\r\n"}[i%2]
			half, rest, _ := strings.Cut(framing, "|")
			say(t, conn, "POST "+route+" HTTP/1.1\r\nHost: a\r\n"+half)
			say(t, conn, rest)
			answer := readAnswer(t, answers)
			if answer.StatusCode == http.StatusBadRequest || answer.err != nil {
				t.Errorf("%s: %s %s, %v", route, answer.Status, answer.body, answer.err)
			}
			if answer.Close {
				conn, answers = dial(t, f.Addr())
			}
		}
	}
}

// TestSlowCallersAreNotReadForEver although nobody wants their body.
func TestSlowCallersAreNotReadForEver(t *testing.T) {
	address := strictServer(t, lingering(http.NotFoundHandler(), 30*time.Millisecond))
	for _, framing := range []string{"Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"} {
		conn, answers := dial(t, address)
		say(t, conn, "POST / HTTP/1.1\r\nHost: a\r\n"+framing)
		if answer := readAnswer(t, answers); answer.StatusCode != http.StatusNotFound || !answer.Close {
			t.Errorf("%s %v", answer.Status, answer.Header)
		}
		if rest, err := io.ReadAll(answers); len(rest) > 0 || err != nil {
			t.Errorf("the connection goes on with %q, %v", rest, err)
		}
	}
}
