package scaler

import (
	"maps"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// sender is one gateway or dispatcher, as its reports describe it.
type sender struct {
	heard time.Time
	// calls says that it may call replicas; a jobrunner only keeps functions awake.
	calls bool
	// revision and functions are of the last complete report, brought up to date by partial ones.
	revision  uint64
	functions map[string]bus.FunctionActivity
	// parts are the functions of a report whose last message is still to come.
	parts map[string]bus.FunctionActivity
}

// onActivity takes one report and decides anew about each function that it names or whose calls have ended.
func (s *Scaler) onActivity(report bus.Activity, now time.Time) {
	from := s.senders[report.Sender]
	if from == nil {
		from = &sender{functions: map[string]bus.FunctionActivity{}, parts: map[string]bus.FunctionActivity{}}
		s.senders[report.Sender] = from
	}
	before := from.functions
	from.take(report, now)
	if report.Leaving {
		delete(s.senders, report.Sender)
	}
	for name := range report.Functions {
		s.touch(name, now)
	}
	if !report.Partial {
		s.touchEnded(before, from.functions, now)
	}
	for _, f := range s.draining {
		s.evaluate(f, now)
	}
}

// touchEnded takes the end of calls for activity: a function's idle time counts from there.
func (s *Scaler) touchEnded(before, after map[string]bus.FunctionActivity, now time.Time) {
	for name, activity := range before {
		if _, named := after[name]; !named && activity.InFlight > 0 {
			s.touch(name, now)
		}
	}
}

// take brings the sender up to date. Its revision is that of its last complete report, so that what is not named counts.
func (f *sender) take(report bus.Activity, now time.Time) {
	f.heard, f.calls = now, report.Kind != bus.KindJobrunner
	maps.Copy(f.parts, report.Functions)
	if report.Partial {
		maps.Copy(f.functions, report.Functions)
		return
	}
	f.revision, f.functions, f.parts = report.Revision, f.parts, map[string]bus.FunctionActivity{}
}

// dropSilentSenders forgets those that are gone; while NATS is away, silence says nothing.
func (s *Scaler) dropSilentSenders(now time.Time) {
	if !s.trusted(now) {
		return
	}
	maps.DeleteFunc(s.senders, func(_ string, from *sender) bool { return now.Sub(from.heard) > s.timing.sender })
}

// inFlight sums a function's calls over all senders.
func (s *Scaler) inFlight(name string) int {
	sum := 0
	for _, from := range s.senders {
		sum += from.functions[name].InFlight
	}
	return sum
}

// inFlightAt is the same for one address.
func (s *Scaler) inFlightAt(name, address string) int {
	sum := 0
	for _, from := range s.senders {
		sum += from.functions[name].Endpoints[address]
	}
	return sum
}

// released reports whether every living sender that calls replicas knows that the replica takes no more calls, and has none in flight there.
func (s *Scaler) released(name string, d drain) bool {
	for _, from := range s.senders {
		if !from.calls {
			continue
		}
		if from.revision < d.revision || from.functions[name].Endpoints[d.address] > 0 {
			return false
		}
	}
	return true
}
