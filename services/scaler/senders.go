package scaler

import (
	"maps"
	"time"

	"github.com/sluicefaas/sluice/pkg/bus"
)

// sender is one gateway or dispatcher, as its reports describe it.
type sender struct {
	heard time.Time
	// revision and functions are of the last complete report, brought up to date by partial ones.
	revision  uint64
	functions map[string]bus.FunctionActivity
	// parts are the functions of a report whose last message is still to come.
	parts map[string]bus.FunctionActivity
}

// onActivity takes one report and decides anew about each function that it names.
func (s *Scaler) onActivity(report bus.Activity, now time.Time) {
	if report.Leaving {
		delete(s.senders, report.Sender)
	} else {
		s.takeReport(report, now)
	}
	for name := range report.Functions {
		s.touch(name, now)
	}
	for name, f := range s.draining {
		if delete(s.draining, name); f.present {
			s.evaluate(f, now)
		}
	}
}

func (s *Scaler) takeReport(report bus.Activity, now time.Time) {
	from := s.senders[report.Sender]
	if from == nil {
		from = &sender{functions: map[string]bus.FunctionActivity{}, parts: map[string]bus.FunctionActivity{}}
		s.senders[report.Sender] = from
	}
	from.heard = now
	maps.Copy(from.parts, report.Functions)
	if report.Partial {
		maps.Copy(from.functions, report.Functions)
		return
	}
	from.revision, from.functions, from.parts = report.Revision, from.parts, map[string]bus.FunctionActivity{}
}

func (s *Scaler) dropSilentSenders(now time.Time) {
	maps.DeleteFunc(s.senders, func(_ string, from *sender) bool { return now.Sub(from.heard) > senderTimeout })
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

// released reports whether every living sender knows that the replica takes no more calls, and has none in flight there.
func (s *Scaler) released(f *tracked, d drain) bool {
	for _, from := range s.senders {
		if from.revision < f.revision || from.functions[f.name].Endpoints[d.address] > 0 {
			return false
		}
	}
	return true
}
