package dispatcher

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// verdict is what happens to a call after an attempt.
type verdict int

const (
	acknowledge verdict = iota
	retry
	bury
	// handBack is for an attempt that we interrupted ourselves: it counts as none.
	handBack
)

// outcome is a verdict and what goes with it.
type outcome struct {
	verdict verdict
	// delay is how long a retry waits, from the end of the attempt.
	delay time.Duration
	// reason is one of a few words, detail a sentence.
	reason, detail string
}

const (
	// maxRetryAfter bounds the wait that a function can ask for.
	maxRetryAfter = time.Hour
	// maxDetail bounds a detail, in bytes.
	maxDetail = 1_000
)

// decide says what happens to a call after its attempt number tries (from 0) was answered so. It is pure.
func decide(answer upstream.Answer, tries int, policy function.Policy, now time.Time) outcome {
	if answer.Kind == upstream.CallerGone {
		return outcome{verdict: handBack, reason: "interrupted", detail: "the dispatcher is stopping"}
	}
	if answer.Status != 0 && answer.Status < http.StatusBadRequest && answer.Kind == upstream.None {
		return outcome{verdict: acknowledge, reason: "success"}
	}
	o := outcome{verdict: bury, reason: reasonOf(answer), detail: detailOf(answer)}
	wait, asked := retryAfter(answer, now)
	listed := slices.Contains(policy.HTTPStatusRetries, answer.Status) && answer.Kind == upstream.None
	broken := answer.Kind == upstream.Timeout || answer.Kind == upstream.Broken || answer.Kind == upstream.Refused
	if !asked && !listed && !broken {
		return o
	}
	if tries >= len(policy.TimeoutRetries) {
		o.detail += fmt.Sprintf("; it was attempt %d of %d", tries+1, len(policy.TimeoutRetries)+1)
		return o
	}
	o.verdict, o.delay = retry, time.Duration(policy.TimeoutRetries[tries])*time.Second
	if asked {
		o.delay = wait
	}
	return o
}

func reasonOf(answer upstream.Answer) string {
	if answer.Kind != upstream.None {
		return answer.Kind.String()
	}
	return "status"
}

func detailOf(answer upstream.Answer) string {
	if answer.Kind != upstream.None {
		return shorten(fmt.Sprintf("the attempt failed: %v", answer.Err))
	}
	return fmt.Sprintf("the function answered %d %s", answer.Status, http.StatusText(answer.Status))
}

// shorten bounds what is kept of an error: some quote what the function sent, which may be more than a dead letter has room for.
func shorten(detail string) string {
	if len(detail) <= maxDetail {
		return detail
	}
	return strings.ToValidUTF8(detail[:maxDetail], "") + "…"
}

// retryAfter reads the wait that a 429 or 503 asks for (RFC 9110 §10.2.3: seconds or a date).
func retryAfter(answer upstream.Answer, now time.Time) (wait time.Duration, asked bool) {
	if answer.Kind != upstream.None || answer.Status != http.StatusTooManyRequests && answer.Status != http.StatusServiceUnavailable {
		return 0, false
	}
	value := answer.Header.Get("Retry-After")
	seconds, err := strconv.ParseUint(value, 10, 31)
	if errors.Is(err, strconv.ErrRange) {
		return maxRetryAfter, true
	}
	if err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, at.Sub(now)), maxRetryAfter), true
	}
	return 0, false
}
