package dispatcher

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

// verdict is what happens to a call after an attempt.
type verdict int

const (
	acknowledge verdict = iota
	retry
	bury
	// handBack is for an attempt that failed by our own doing: it counts as none.
	handBack
	// takeOver is for a function that has taken the call and says later how it ends.
	takeOver
)

// outcome is a verdict and what goes with it.
type outcome struct {
	verdict verdict
	// delay is how long a retry, or a call that is handed back, waits from the end of the attempt.
	delay time.Duration
	// reason is one of a few words, detail a sentence.
	reason, detail string
	// unsent says that the function was not called.
	unsent bool
}

const (
	// maxRetryAfter bounds the wait that a function can ask for.
	maxRetryAfter = time.Hour
	// callbackGrace is how much later than its time a callback may be stored that came in time, by a clock which may go a little after.
	callbackGrace = 500 * time.Millisecond
	// maxDetail bounds a detail, in bytes.
	maxDetail = 1_000
)

// decide says what happens to a call after its attempt number tries (from 0) was answered so. It is pure.
func decide(answer upstream.Answer, tries int, policy function.Policy, now time.Time) outcome {
	if answer.Kind == upstream.CallerGone {
		return stopped()
	}
	if answer.Status == http.StatusAccepted && answer.Kind == upstream.None {
		return outcome{verdict: takeOver, reason: "success"}
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
	o = o.tryAgain(tries, policy)
	if asked && o.verdict == retry {
		o.delay = wait
	}
	return o
}

// tryAgain makes the failure of the attempt number tries a retry, unless it was the last one.
func (o outcome) tryAgain(tries int, policy function.Policy) outcome {
	if tries >= len(policy.TimeoutRetries) {
		o.verdict = bury
		o.detail += fmt.Sprintf("; it was attempt %d of %d", tries+1, len(policy.TimeoutRetries)+1)
		return o
	}
	o.verdict, o.delay = retry, time.Duration(policy.TimeoutRetries[tries])*time.Second
	return o
}

func stopped() outcome {
	return outcome{verdict: handBack, reason: "interrupted", detail: "the dispatcher is stopping"}
}

// decideOpen says what happens to a call that the function has taken over, by its record as it was at the time looked. It is pure, and
// ok is false as long as the function has time left.
func decideOpen(record bus.Attempt, policy function.Policy, looked time.Time) (o outcome, ok bool) {
	switch {
	case record.Callback == bus.CallbackSuccess:
		return outcome{verdict: acknowledge, reason: "success"}, true
	case record.Callback != "":
		o = outcome{reason: "callback_error", detail: "the function ended the call with the callback " + strconv.Quote(shorten(record.Callback))}
	case looked.Before(record.Until.Add(callbackGrace)):
		return outcome{}, false
	default:
		o = outcome{reason: upstream.Timeout.String(), detail: "the function took the call over with status 202, and no callback came in time"}
	}
	return o.tryAgain(record.Tries, policy), true
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
