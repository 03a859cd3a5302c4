package gateway

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// waiting makes a call whose caller waits for its end.
func (f *fixture) waiting(method, wait string) *http.Request {
	f.t.Helper()
	request := f.request(method, "/async-function/f", "body")
	request.Header.Set("Prefer", "wait="+wait)
	return request
}

// taken takes the only queued call, as the dispatcher does.
func (f *fixture) taken() *bus.Delivery {
	f.t.Helper()
	eventually(f.t, "the call to be queued", func() bool { return f.depth("f") == 1 })
	return f.fetch("f", 1)[0]
}

// end sends the result of the call, as the dispatcher does.
func (f *fixture) end(d *bus.Delivery, result bus.Result) {
	f.t.Helper()
	result.ID = d.ID
	if err := f.bus.SendResult(d.Call.ResultTo, result); err != nil {
		f.t.Fatal(err)
	}
}

// noWaits waits until nobody waits for a result.
func (f *fixture) noWaits() {
	f.t.Helper()
	eventually(f.t, "the waits to end", func() bool { return f.waits.Load() == 0 })
}

func TestWaitForTheAnswer(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	answers := f.later(f.waiting("POST", "60"))
	delivery := f.taken()
	f.end(delivery, bus.Result{Status: http.StatusTeapot, Body: []byte("the answer"), Header: http.Header{
		"Content-Type": {"text/x"}, "Set-Cookie": {"a=b", "c=d"}, "Connection": {"close, X-Hop"}, "X-Hop": {"1"}, "Transfer-Encoding": {"chunked"},
		"Content-Length": {"99"}, "X-Call-Id": {"forged"},
	}})
	answer := wait(t, "the answer", answers)
	if answer.err != nil || answer.StatusCode != http.StatusTeapot || answer.body != "the answer" || answer.ContentLength != 10 {
		t.Fatalf("%+v", answer)
	}
	h := answer.Header
	if h.Get("X-Call-Id") != delivery.ID || h.Get("SlimFaas-Element-Id") != delivery.ID || h.Get("Preference-Applied") != "wait=60" || h.Get("Vary") != "Prefer" {
		t.Errorf("%v, want the id %s", h, delivery.ID)
	}
	if h.Get("Content-Type") != "text/x" || len(h["Set-Cookie"]) != 2 || h.Get("X-Hop") != "" || answer.Close {
		t.Errorf("%v", h)
	}
	f.noWaits()
	eventually(t, "the budget to come back", func() bool { return f.room() == f.config.BodyBudget })
}

// TestResultsAreWithinTheBudget: what cannot be held is not, and the call has its 202.
func TestResultsAreWithinTheBudget(t *testing.T) {
	f := start(t, func(o *options) { o.config.BodyBudget = 100 })
	f.put(state("f"))
	answers := f.later(f.waiting("POST", "60"))
	f.end(f.taken(), bus.Result{Status: 200, Body: make([]byte, 101)})
	if answer := wait(t, "the answer", answers); answer.StatusCode != http.StatusAccepted || f.room() != f.config.BodyBudget {
		t.Errorf("%+v, budget %d", answer, f.room())
	}
}

// TestWaitsWithoutABody: what has none by its method or status gets none.
func TestWaitsWithoutABody(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	for method, status := range map[string]int{"HEAD": http.StatusOK, "POST": http.StatusNoContent, "GET": http.StatusNotModified} {
		answers := f.later(f.waiting(method, "60"))
		f.end(f.taken(), bus.Result{Status: status, Header: http.Header{"Content-Length": {"4"}}, Body: []byte("body")})
		if answer := wait(t, "the answer", answers); answer.err != nil || answer.StatusCode != status || answer.body != "" {
			t.Errorf("%s: %+v", method, answer)
		}
	}
}

func TestWaitForACallThatIsGivenUp(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	for reason, kind := range map[string]problemKind{
		"timeout": lateFunction, "refused": unreachableFunction, "broken": brokenFunction, "invalid": badRequest, "unknown_function": unknownFunction, "some_day": lostCall,
	} {
		answers := f.later(f.waiting("POST", "60"))
		delivery := f.taken()
		f.end(delivery, bus.Result{Reason: reason, Detail: "why it was"})
		answer := wait(t, "the answer", answers)
		p := expectProblem(t, answer, kind)
		if p.CallID != delivery.ID || kind != unknownFunction && !strings.Contains(p.Detail, "why it was") {
			t.Errorf("%s: %+v", reason, p)
		}
	}
	answers := f.later(f.waiting("POST", "60"))
	f.end(f.taken(), bus.Result{Status: 202, Reason: "callback_error", Detail: "why"})
	expectProblem(t, wait(t, "the answer", answers), lostCall)
	answers = f.later(f.waiting("POST", "60"))
	f.end(f.taken(), bus.Result{}) // a success by callback, and its 202 forgotten
	if answer := wait(t, "the answer", answers); answer.StatusCode != http.StatusOK || answer.body != "" {
		t.Errorf("%+v", answer)
	}
	answers = f.later(f.waiting("POST", "60"))
	f.end(f.taken(), bus.Result{Status: 500, Body: []byte("the function's"), Reason: "status"})
	if answer := wait(t, "the answer", answers); answer.StatusCode != 500 || answer.body != "the function's" {
		t.Errorf("%+v", answer)
	}
}

func TestResultProblem(t *testing.T) {
	for _, test := range []struct {
		result bus.Result
		ok     bool
	}{
		{bus.Result{Status: 200}, true}, {bus.Result{Status: 302}, true}, {bus.Result{Status: 404, Reason: "status"}, true}, {bus.Result{Status: 999}, true},
		{bus.Result{}, false}, {bus.Result{Status: 101}, false}, {bus.Result{Status: 1000}, false}, {bus.Result{Status: 202, Reason: "callback"}, false},
	} {
		if p := resultProblem("f", test.result); (p == nil) != test.ok {
			t.Errorf("%+v: %v", test.result, p)
		}
	}
}

// TestWaitIsOver: 202 when the time is over, or the answer too large; the call goes on.
func TestWaitIsOver(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	answers := f.later(f.waiting("POST", "60"))
	large := f.taken()
	f.end(large, bus.Result{Status: 200, Truncated: true})
	if answer := wait(t, "the answer", answers); answer.StatusCode != http.StatusAccepted || answer.Header.Get("X-Call-Id") != large.ID {
		t.Errorf("%+v", answer)
	}
	begin := time.Now()
	answer := f.do(f.waiting("POST", "1"))
	if took := time.Since(begin); took < time.Second || answer.StatusCode != http.StatusAccepted || answer.Header.Get("Preference-Applied") != "wait=1" {
		t.Errorf("after %s: %s %v", took, answer.Status, answer.Header)
	}
	late := f.taken()
	if late.ID != answer.Header.Get("X-Call-Id") {
		t.Errorf("%s is queued", late.ID)
	}
	f.end(late, bus.Result{Status: 200})
	if answer := f.do(f.waiting("POST", "none")); answer.StatusCode != http.StatusAccepted || answer.Header.Get("Preference-Applied") != "" {
		t.Errorf("%s %v", answer.Status, answer.Header)
	}
	f.noWaits()
}

// TestWaiterHangsUp: his call stays.
func TestWaiterHangsUp(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	ctx, hangUp := context.WithCancel(t.Context())
	answers := f.later(f.waiting("POST", "60").WithContext(ctx))
	eventually(t, "the call to be queued", func() bool { return f.depth("f") == 1 })
	hangUp()
	<-answers
	f.noWaits()
	f.fetch("f", 1)
}

// TestWaitsEndWithTheGateway: a shutdown does not wait for calls that others run.
func TestWaitsEndWithTheGateway(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	answers := f.later(f.waiting("POST", "60"))
	eventually(t, "the call to be queued", func() bool { return f.depth("f") == 1 })
	f.stopTaking()
	if answer := wait(t, "the answer", answers); answer.StatusCode != http.StatusAccepted {
		t.Errorf("%+v", answer)
	}
	if err := wait(t, "Run to return", f.ended); err != nil {
		t.Error(err)
	}
}

// TestWaitsAreBounded: who is one too many gets his 202 at once.
func TestWaitsAreBounded(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	f.waits.Store(maxWaits)
	answer := f.do(f.waiting("POST", "60"))
	if answer.StatusCode != http.StatusAccepted || answer.Header.Get("Preference-Applied") != "" || f.waits.Load() != maxWaits {
		t.Errorf("%s %v, %d waits", answer.Status, answer.Header, f.waits.Load())
	}
}

// TestSlowBodiesDoNotEndTheWait: the deadline of reading a body is not one of waiting.
func TestSlowBodiesDoNotEndTheWait(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	f.pace = 2 * time.Second
	conn, answers := dial(t, f.Addr())
	say(t, conn, "POST /async-function/f HTTP/1.1\r\nHost: a\r\nPrefer: wait=60\r\nContent-Length: 10\r\n\r\nhalf")
	eventually(t, "the body to be read", func() bool { return f.room() < f.config.BodyBudget })
	say(t, conn, " + all")
	delivery := f.taken()
	<-time.After(f.pace + f.pace/4)
	f.end(delivery, bus.Result{Status: 200, Body: []byte("answer")})
	if answer := readAnswer(t, answers); answer.StatusCode != 200 || answer.body != "answer" {
		t.Errorf("%s %s", answer.Status, answer.body)
	}
}
