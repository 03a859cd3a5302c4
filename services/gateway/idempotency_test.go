package gateway

import (
	"net/http"
	"strings"
	"testing"
)

func TestIdempotencyKey(t *testing.T) {
	longest := strings.Repeat("k", maxIdempotencyKey)
	for sent, want := range map[string]string{
		"abc": "abc", `"abc"`: "abc", `"a\"b\\c"`: `a"b\c`, longest: longest, `"` + longest + `"`: longest, "8e03978e-40d5-43dd-bc93-6894a57f9324": "8e03978e-40d5-43dd-bc93-6894a57f9324",
	} {
		if got, p := idempotencyKey(http.Header{headerIdempotencyKey: {sent}}); got != want || p != nil {
			t.Errorf("%q: %q, %v", sent, got, p)
		}
	}
	if got, p := idempotencyKey(http.Header{}); got != "" || p != nil {
		t.Errorf("without: %q, %v", got, p)
	}
	for _, sent := range [][]string{
		{""}, {`""`}, {longest + "k"}, {`"` + longest + `k"`}, {`"abc`}, {`"abc"d`}, {`"a\b"`}, {`"a\`}, {`"`}, {"a b"}, {"a\tb"}, {"ä"}, {"\x7f"}, {"a", "a"}, {},
	} {
		if got, p := idempotencyKey(http.Header{headerIdempotencyKey: sent}); p == nil || p.Status != http.StatusBadRequest || !strings.Contains(p.Detail, headerIdempotencyKey) {
			t.Errorf("%q: %q, %v", sent, got, p)
		}
	}
}

// TestRow20 is the de-duplication key without its scope: the same call gets the same id, another one 409, and another function's its own.
func TestRow20IdempotentCalls(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	f.put(state("g"))
	post := func(path, body, key string) result {
		request := f.request("POST", path, body)
		request.Header.Set("idempotency-key", key)
		return f.do(request)
	}
	first := post("/async-function/f/a", "body", "k1")
	if first.StatusCode != http.StatusAccepted {
		t.Fatalf("%s %s", first.Status, first.body)
	}
	if again := post("/async-function/f/a", "body", `"k1"`); again.StatusCode != http.StatusAccepted || again.Header.Get("X-Call-Id") != first.Header.Get("X-Call-Id") {
		t.Errorf("again: %s %v, first %v", again.Status, again.Header, first.Header)
	}
	p := expectProblem(t, post("/async-function/f/a", "other", "k1"), reusedKey)
	if !strings.Contains(p.Detail, headerIdempotencyKey) {
		t.Errorf("detail: %s", p.Detail)
	}
	expectProblem(t, post("/async-function/f/b", "body", "k1"), reusedKey)
	for _, other := range []result{post("/async-function/g/a", "body", "k1"), post("/async-function/f/a", "body", "k2")} {
		if other.StatusCode != http.StatusAccepted || other.Header.Get("X-Call-Id") == first.Header.Get("X-Call-Id") {
			t.Errorf("%s %v", other.Status, other.Header)
		}
	}
	expectProblem(t, post("/async-function/f/a", "body", "not visible"), badRequest)
	if f.depth("f") != 2 || f.depth("g") != 1 {
		t.Errorf("%d and %d calls are queued", f.depth("f"), f.depth("g"))
	}
	if got := f.fetch("f", 2)[0].Call.Header.Get(headerIdempotencyKey); got != "k1" {
		t.Errorf("the function gets the key %q", got)
	}
}
