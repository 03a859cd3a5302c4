package dispatcher

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func status(code int, retryAfter ...string) upstream.Answer {
	return upstream.Answer{Status: code, Header: http.Header{"Retry-After": retryAfter}}
}

func failure(kind upstream.Kind) upstream.Answer {
	return upstream.Answer{Kind: kind, Err: errors.New("it broke")}
}

func TestDecide(t *testing.T) {
	policy := function.Policy{TimeoutRetries: []int{2, 4, 8}, HTTPStatusRetries: []int{500, 502, 503}}
	once := function.Policy{HTTPStatusRetries: []int{500}}
	brokenAnswer := failure(upstream.Broken)
	brokenAnswer.Status = 200
	brokenAccept := failure(upstream.Broken)
	brokenAccept.Status = 202
	tests := []struct {
		name    string
		answer  upstream.Answer
		tries   int
		policy  function.Policy
		verdict verdict
		delay   time.Duration
		reason  string
	}{
		{"ok", status(200), 0, policy, acknowledge, 0, "success"},
		{"taken over", status(202), 0, policy, takeOver, 0, "success"},
		{"taken over, last", status(202), 3, policy, takeOver, 0, "success"},
		{"the one before", status(201), 0, policy, acknowledge, 0, "success"},
		{"the one after", status(203), 0, policy, acknowledge, 0, "success"},
		{"a 202 that broke", brokenAccept, 0, policy, retry, 2 * time.Second, "broken"},
		{"redirect", status(302), 0, policy, acknowledge, 0, "success"},
		{"the last below 400", status(399), 0, policy, acknowledge, 0, "success"},
		{"the first that is not", status(400), 0, policy, bury, 0, "status"},
		{"not listed", status(404), 0, policy, bury, 0, "status"},
		{"listed, first", status(500), 0, policy, retry, 2 * time.Second, "status"},
		{"listed, second", status(502), 1, policy, retry, 4 * time.Second, "status"},
		{"listed, third", status(503), 2, policy, retry, 8 * time.Second, "status"},
		{"listed, last", status(500), 3, policy, bury, 0, "status"},
		{"beyond the last", status(500), 9, policy, bury, 0, "status"},
		{"no retries", status(500), 0, once, bury, 0, "status"},
		{"timeout", failure(upstream.Timeout), 0, policy, retry, 2 * time.Second, "timeout"},
		{"broken", failure(upstream.Broken), 1, policy, retry, 4 * time.Second, "broken"},
		{"refused", failure(upstream.Refused), 2, policy, retry, 8 * time.Second, "refused"},
		{"timeout, last", failure(upstream.Timeout), 3, policy, bury, 0, "timeout"},
		{"an answer that broke is no success", brokenAnswer, 0, policy, retry, 2 * time.Second, "broken"},
		{"invalid", failure(upstream.Invalid), 0, policy, bury, 0, "invalid"},
		{"interrupted", failure(upstream.CallerGone), 3, policy, handBack, 0, "interrupted"},
		{"too many requests", status(429), 0, policy, bury, 0, "status"},
		{"too many requests, with a wait", status(429, "7"), 0, policy, retry, 7 * time.Second, "status"},
		{"with a wait, last", status(429, "7"), 3, policy, bury, 0, "status"},
		{"unavailable, with a wait", status(503, "7"), 1, policy, retry, 7 * time.Second, "status"},
		{"no wait", status(503, "0"), 0, policy, retry, 0, "status"},
		{"an hour", status(503, "3600"), 0, policy, retry, time.Hour, "status"},
		{"more than an hour", status(503, "3601"), 0, policy, retry, time.Hour, "status"},
		{"more than a number has room for", status(429, "99999999999999999999"), 0, policy, retry, time.Hour, "status"},
		{"a date", status(429, noon.Add(90*time.Second).Format(http.TimeFormat)), 0, policy, retry, 90 * time.Second, "status"},
		{"a date that is over", status(429, noon.Add(-time.Hour).Format(http.TimeFormat)), 0, policy, retry, 0, "status"},
		{"a date far away", status(429, noon.Add(48*time.Hour).Format(http.TimeFormat)), 0, policy, retry, time.Hour, "status"},
		{"a wait that is none", status(429, "soon"), 0, policy, bury, 0, "status"},
		{"a wait that is none, listed", status(503, "-1"), 0, policy, retry, 2 * time.Second, "status"},
		{"a wait of another status", status(500, "7"), 0, policy, retry, 2 * time.Second, "status"},
		{"a wait of another status, not listed", status(404, "7"), 0, policy, bury, 0, "status"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := decide(test.answer, test.tries, test.policy, noon)
			if got.verdict != test.verdict || got.delay != test.delay || got.reason != test.reason {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// Row 19: an answer that is not worth another attempt is a dead letter, whatever the status and the attempt.
func TestDecideForEachStatusAndAttempt(t *testing.T) {
	policy := function.Policy{TimeoutRetries: []int{1, 2}, HTTPStatusRetries: []int{418, 500}}
	for code := 200; code <= 599; code++ {
		for tries := range 4 {
			want := bury
			switch {
			case code == 202:
				want = takeOver
			case code < 400:
				want = acknowledge
			case tries < 2 && (code == 418 || code == 500):
				want = retry
			}
			if got := decide(status(code), tries, policy, noon); got.verdict != want {
				t.Errorf("status %d after %d attempts: %+v, want verdict %d", code, tries, got, want)
			}
		}
	}
}

func TestDecideOpen(t *testing.T) {
	policy := function.Policy{TimeoutRetries: []int{2, 4}}
	open := bus.Attempt{Tries: 1, Until: noon}
	with := func(word string, tries int) bus.Attempt {
		return bus.Attempt{Tries: tries, Until: noon, Callback: word}
	}
	tests := []struct {
		name    string
		record  bus.Attempt
		looked  time.Time
		ended   bool
		verdict verdict
		delay   time.Duration
		reason  string
	}{
		{"waits", open, noon.Add(-time.Hour), false, acknowledge, 0, ""},
		{"not looked at", open, time.Time{}, false, acknowledge, 0, ""},
		{"its time is over, but a callback may be on its way", open, noon, false, acknowledge, 0, ""},
		{"timeout", open, noon.Add(callbackGrace), true, retry, 4 * time.Second, "timeout"},
		{"timeout, last", bus.Attempt{Tries: 2, Until: noon}, noon.Add(time.Hour), true, bury, 0, "timeout"},
		{"timeout, beyond the last", bus.Attempt{Tries: 9, Until: noon}, noon.Add(time.Hour), true, bury, 0, "timeout"},
		{"success", with("success", 0), noon.Add(-time.Hour), true, acknowledge, 0, "success"},
		{"success, seen late", with("success", 2), noon.Add(time.Hour), true, acknowledge, 0, "success"},
		{"success before the 202", bus.Attempt{Callback: "success"}, time.Time{}, true, acknowledge, 0, "success"},
		{"error", with("error", 0), noon.Add(-time.Hour), true, retry, 2 * time.Second, "callback_error"},
		{"error, last", with("error", 2), noon.Add(-time.Hour), true, bury, 0, "callback_error"},
		{"a word of the future", with("paused", 0), noon.Add(-time.Hour), true, retry, 2 * time.Second, "callback_error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ended := decideOpen(test.record, policy, test.looked)
			if ended != test.ended || got.verdict != test.verdict || got.delay != test.delay || got.reason != test.reason {
				t.Errorf("got %v %+v", ended, got)
			}
			if got.verdict != acknowledge && got.detail == "" {
				t.Error("without a detail")
			}
		})
	}
}

func TestDecideBoundsWhatItQuotes(t *testing.T) {
	answer := failure(upstream.Broken)
	answer.Err = errors.New(strings.Repeat("é", 100_000))
	got := decide(answer, 0, function.Policy{}, noon)
	if len(got.detail) > 2*maxDetail || !strings.Contains(got.detail, "attempt 1 of 1") {
		t.Errorf("%d bytes: %.50q", len(got.detail), got.detail)
	}
}

func anyAnswer(t *rapid.T) upstream.Answer {
	kind := upstream.Kind(rapid.IntRange(int(upstream.None), int(upstream.Invalid)).Draw(t, "kind"))
	if kind != upstream.None {
		return failure(kind)
	}
	code := rapid.IntRange(200, 599).Draw(t, "status")
	after := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`-?[0-9]{1,25}`), rapid.String(),
		rapid.Map(rapid.Int64Range(-1e10, 1e10), func(s int64) string { return time.Unix(s, 0).UTC().Format(http.TimeFormat) }))
	return status(code, after.Draw(t, "retry after"))
}

func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		answer, tries := anyAnswer(t), rapid.IntRange(0, 6).Draw(t, "tries")
		policy := function.Policy{
			TimeoutRetries:    rapid.SliceOfN(rapid.IntRange(0, 86_400), 0, 5).Draw(t, "retries"),
			HTTPStatusRetries: rapid.SliceOfN(rapid.IntRange(400, 599), 0, 5).Draw(t, "statuses"),
		}
		checkOutcome(t, answer, tries, policy)
	})
}

type reporter interface {
	Helper()
	Fatalf(string, ...any)
}

// checkOutcome says again, in other words, what decide promises.
func checkOutcome(t reporter, answer upstream.Answer, tries int, policy function.Policy) {
	t.Helper()
	got := decide(answer, tries, policy, noon)
	answered := answer.Kind == upstream.None
	switch {
	case (got.verdict == acknowledge) != (answered && answer.Status < 400 && answer.Status != 202):
		t.Fatalf("only answers below 400 are acknowledged: %+v", got)
	case (got.verdict == takeOver) != (answered && answer.Status == 202):
		t.Fatalf("only a 202 takes over: %+v", got)
	case (got.verdict == handBack) != (answer.Kind == upstream.CallerGone):
		t.Fatalf("only what we interrupted is handed back: %+v", got)
	case got.verdict == retry && tries >= len(policy.TimeoutRetries):
		t.Fatalf("attempt %d of %d is followed by another one", tries+1, len(policy.TimeoutRetries)+1)
	case got.verdict == retry && (got.delay < 0 || got.delay > max(time.Hour, time.Duration(policy.TimeoutRetries[tries])*time.Second)):
		t.Fatalf("delay %s", got.delay)
	case got.verdict != retry && got.delay != 0:
		t.Fatalf("a delay without a retry: %+v", got)
	case got.verdict == retry && answered && answer.Status != 429 && answer.Status != 503 && !slices.Contains(policy.HTTPStatusRetries, answer.Status):
		t.Fatalf("status %d is not listed: %+v", answer.Status, got)
	case got.verdict == bury && answered && tries < len(policy.TimeoutRetries) && slices.Contains(policy.HTTPStatusRetries, answer.Status):
		t.Fatalf("status %d is listed: %+v", answer.Status, got)
	case got.reason == "" || got.verdict != acknowledge && got.verdict != takeOver && got.detail == "":
		t.Fatalf("without a reason: %+v", got)
	}
}

func FuzzDecide(f *testing.F) {
	f.Add(200, 0, 0, "", 3)
	f.Add(503, 1, 0, "120", 1)
	f.Add(429, 2, 0, "Sun, 01 Mar 2026 12:00:30 GMT", 3)
	f.Add(429, 0, 0, "99999999999999999999999", 1)
	f.Add(0, 0, int(upstream.Timeout), strconv.Itoa(1), 0)
	f.Fuzz(func(t *testing.T, code, tries, kind int, after string, retries int) {
		if tries < 0 || retries < 0 || retries > 10 || code < 200 || code > 999 {
			return
		}
		answer := status(code, after)
		if kind != 0 {
			answer = failure(upstream.Kind(kind))
		}
		policy := function.Policy{TimeoutRetries: make([]int, retries), HTTPStatusRetries: []int{500}}
		checkOutcome(t, answer, tries, policy)
	})
}
