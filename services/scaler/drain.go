package scaler

import (
	"maps"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
)

// drain is one replica on its way out: it takes no more calls.
type drain struct {
	address string
	// since is from when on the bucket has no such endpoint, revision as of which; since is zero before.
	since    time.Time
	revision uint64
	// ending says that the cluster was asked to end it, for count replicas; down that it has not been ready since.
	ending, down bool
	count        int
}

// act brings the cluster towards the wanted count: up at once, down after the replicas that end have finished their calls.
func (s *Scaler) act(f *tracked, now time.Time) {
	s.forgetEnded(f, now)
	switch {
	case f.workload.Fixed:
		f.draining = nil
	case f.state.Replicas < f.asked:
		s.chooseVictims(f)
		f.state.Endpoints = s.endpoints(f)
		f.noteShared(now)
		if s.drained(f, now) {
			s.setReplicas(f, now)
		}
	default:
		maps.DeleteFunc(f.draining, func(_ string, d drain) bool { return !d.ending })
		if f.state.Replicas > f.asked || f.doubtful {
			s.setReplicas(f, now)
		}
	}
}

// forgetEnded drops the draining replicas that are gone, those of whose name there is a new one, and those that the
// cluster has kept, because it ended others or was asked for more before it acted.
func (s *Scaler) forgetEnded(f *tracked, now time.Time) {
	if len(f.draining) == 0 {
		return
	}
	settled := !f.setting && f.workload.Replicas == f.asked && len(f.workload.Pods) <= f.asked && now.Sub(f.askedAt) > s.timing.stale
	kept := make(map[string]drain, len(f.draining))
	for _, pod := range f.workload.Pods {
		d, draining := f.draining[pod.Name]
		if !draining || d.ending && settled || d.isAnother(pod, f.asked) {
			continue
		}
		d.down = d.down || d.ending && !pod.Ready
		kept[pod.Name] = d
	}
	f.draining = kept
}

// isAnother reports whether pod only has the name of the replica that drains.
func (d drain) isAnother(pod function.Pod, asked int) bool {
	if !d.ending {
		return pod.Address != d.address
	}
	moved := pod.Address != "" && d.address != "" && pod.Address != d.address
	return moved || d.down && pod.Ready && asked > d.count
}

// chooseVictims makes the draining replicas those that are too many.
func (s *Scaler) chooseVictims(f *tracked) {
	draining := map[string]drain{}
	maps.Copy(draining, f.draining)
	maps.DeleteFunc(draining, func(_ string, d drain) bool { return !d.ending })
	for _, pod := range s.victims(f) {
		d, already := f.draining[pod.Name]
		if !already {
			d = drain{address: pod.Address}
		}
		draining[pod.Name] = d
	}
	f.draining = draining
}

// noteShared notes which draining replicas the bucket has no more.
func (f *tracked) noteShared(now time.Time) {
	if f.sharing || f.uncertain {
		return
	}
	for name, d := range f.draining {
		if d.since.IsZero() && f.hides(name, d) {
			d.since, d.revision = now, f.revision
			f.draining[name] = d
		}
	}
}

// drained reports whether the draining replicas may end: nobody sends them calls and none is in flight, or their time is
// over. As long as NATS is away it is not known who sends.
func (s *Scaler) drained(f *tracked, now time.Time) bool {
	if !s.trusted(now) {
		return false
	}
	for _, d := range f.draining {
		if d.ending {
			continue
		}
		if d.since.IsZero() || now.Sub(d.since) <= s.config.DrainTimeout && !s.released(f.name, d) {
			return false
		}
	}
	return true
}
