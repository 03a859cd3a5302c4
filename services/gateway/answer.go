package gateway

import (
	"net/http"
	"strconv"
	"time"
)

// Headers of answers.
const (
	headerCallID    = "X-Call-Id"
	headerStart     = "X-Start-Time"
	headerDuration  = "X-Duration-Seconds"
	headerColdStart = "Sluice-Cold-Start"
	headerHeld      = "Sluice-Held-Ms"
	headerElementID = "Slimfaas-Element-Id" // SlimFaas-Element-Id in canonical form
)

// syncAnswer is the answer to one sync call, and what its headers say of the call. The embedded writer is net/http's, because
// echo's takes the first 1xx for the whole answer.
type syncAnswer struct {
	http.ResponseWriter
	target *target
	id     string
	start  time.Time
	// held is how long the call waited for a replica, 0 if one was ready.
	held time.Duration
}

// Unwrap is for http.ResponseController.
func (a *syncAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// stamp puts our headers into an answer's, in place of any that the function has sent.
func (a *syncAnswer) stamp(h http.Header) {
	stampCall(h, a.id, a.start)
	stampDuration(h, a.start)
	h.Set(headerColdStart, strconv.FormatBool(a.held > 0))
	h.Set(headerHeld, strconv.FormatInt(a.held.Milliseconds(), 10))
}

// fail answers in place of the function.
func (a *syncAnswer) fail(p *Problem) {
	a.stamp(a.Header())
	p.write(a)
}

// answerOf finds the answer below the writers that others have put around it.
func answerOf(w http.ResponseWriter) (*syncAnswer, bool) {
	for {
		if a, ok := w.(*syncAnswer); ok {
			return a, true
		}
		around, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil, false
		}
		w = around.Unwrap()
	}
}

// stampCall sets the headers that say which call this is, to its function and to its caller. The names are in canonical form.
func stampCall(h http.Header, id string, start time.Time) {
	h[headerCallID] = []string{id}
	h[headerStart] = []string{strconv.FormatInt(start.UnixNano(), 10)}
}

// stampDuration sets the header that says how long the call has taken.
func stampDuration(h http.Header, start time.Time) {
	h.Set(headerDuration, strconv.FormatFloat(time.Since(start).Seconds(), 'f', 6, 64))
}
