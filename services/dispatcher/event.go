package dispatcher

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/sluicefaas/sluice/pkg/bus"
	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/upstream"
)

const (
	// maxEventCalls bounds the replicas that one event is sent to at the same time.
	maxEventCalls = 16
	// maxLost bounds what is kept of why an event has not reached a replica, in bytes.
	maxLost = 200
)

// replicaName is by what an event remembers a replica: its address may be another one after a restart.
func replicaName(e function.Endpoint) string { return cmp.Or(e.Replica, e.Address) }

// targets are the replicas that an event goes to: all that are ready, or those among them that it has still to reach.
func targets(ready []function.Endpoint, pending []string) []function.Endpoint {
	if pending == nil {
		return ready
	}
	return slices.DeleteFunc(slices.Clone(ready), func(e function.Endpoint) bool { return !slices.Contains(pending, replicaName(e)) })
}

// reply is what came of an event at one replica.
type reply struct {
	replica string
	answer  upstream.Answer
	outcome outcome
}

// notify sends the event to its replicas.
func (c *call) notify(s *shift) (upstream.Answer, outcome) {
	replies := make([]reply, len(c.targets))
	var group sync.WaitGroup
	free := make(chan struct{}, maxEventCalls)
	for i, to := range c.targets {
		free <- struct{}{}
		group.Go(func() {
			replies[i] = c.notifyOne(s, to, i == 0)
			<-free
		})
	}
	group.Wait()
	result := decideEvent(replies, &c.record)
	for _, r := range replies {
		if r.outcome.verdict != acknowledge {
			return r.answer, result
		}
	}
	return upstream.Answer{}, result
}

// notifyOne sends the event to one replica. The lease of the first one is that of the call.
func (c *call) notifyOne(s *shift, to function.Endpoint, first bool) reply {
	if !first {
		if lease, ok := s.endpoints.AcquireBeside(to.Address); ok {
			defer lease.Release()
		}
	}
	answer, result := c.send(s, to)
	if result.verdict == takeOver {
		result.verdict = acknowledge
	}
	c.count(result)
	return reply{replicaName(to), answer, result}
}

// decideEvent says what happens to an event after an attempt, and updates its record: which replicas another attempt has to reach, and
// which ones none will. Pending is not nil from here on, so that an event that comes again is not sent to all. It is pure.
func decideEvent(replies []reply, record *bus.Attempt) outcome {
	result := outcome{verdict: acknowledge, reason: "success"}
	record.Pending = []string{}
	for _, r := range replies {
		o := r.outcome
		o.detail = r.replica + ": " + o.detail
		switch o.verdict {
		case acknowledge, takeOver:
		case bury:
			record.Lost = append(record.Lost, o.detail[:min(len(o.detail), maxLost)])
		case retry, handBack:
			record.Pending = append(record.Pending, r.replica)
			result = laterOf(result, o)
		}
	}
	if len(record.Pending) == 0 && len(record.Lost) > 0 {
		result = outcome{
			verdict: bury, reason: "event_lost",
			detail: shorten("the event has not reached every replica: " + strings.ToValidUTF8(strings.Join(record.Lost, "; "), "")),
		}
	}
	return result
}

// laterOf is what holds for replicas that are both to be tried again: the longer wait, and no counted attempt if one of them was none.
func laterOf(a, b outcome) outcome {
	if a.verdict == acknowledge {
		return b
	}
	delay := max(a.delay, b.delay)
	if b.verdict == handBack {
		a = b
	}
	a.delay = delay
	return a
}
