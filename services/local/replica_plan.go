package local

import "slices"

// plan is what the next step is of a workload's replicas, towards their count and the newest version.
type plan struct {
	end     []*replica
	restart []*replica // with the same name
	start   int
}

// plan decides what to do now. It is asked again whenever a replica has become ready or unready, or has ended.
func (s *replicaSet) plan(victims []string) plan {
	wanted := s.wantedByEnd(victims)
	if s.stateful() {
		return s.planInPlace(wanted)
	}
	// Victims take no calls any more, so that they go before any other one.
	chosen := func(r *replica) bool { return slices.Contains(victims, r.name) }
	count := 0
	for count < len(wanted)-s.count && chosen(wanted[count]) {
		count++
	}
	p := s.planSurge(wanted[count:])
	p.end = append(wanted[:count:count], p.end...)
	return p
}

// planSurge replaces as a Deployment does: one new replica more than the count, and for each one that is ready an old one ends.
// Old ones that are not ready serve nobody and end at once.
func (s *replicaSet) planSurge(wanted []*replica) (p plan) {
	var fresh, old []*replica
	ready := 0 // of the fresh ones
	for _, r := range wanted {
		switch {
		case r.version == s.version:
			fresh = append(fresh, r)
			if r.ready {
				ready++
			}
		case r.ready:
			old = append(old, r)
		default:
			p.end = append(p.end, r)
		}
	}
	kept := min(len(old), max(s.count-ready, 0))
	target := s.count - kept
	if kept > 0 {
		target = min(max(target, ready+1), s.count)
	}
	p.end = slices.Concat(p.end, old[:len(old)-kept], fresh[:max(len(fresh)-target, 0)])
	p.start = max(target-len(fresh), 0)
	return p
}

// planInPlace replaces as a StatefulSet does: the replica with the highest index first, the next one when all are ready again.
func (s *replicaSet) planInPlace(wanted []*replica) (p plan) {
	excess := max(len(wanted)-s.count, 0)
	p.end, p.start = wanted[:excess], max(s.count-len(wanted), 0)
	var next *replica
	allReady := p.start == 0
	for _, r := range wanted[excess:] {
		switch {
		case !r.ready:
			allReady = false
			if r.version != s.version {
				p.restart = append(p.restart, r)
			}
		case r.version != s.version && (next == nil || r.index > next.index):
			next = r
		}
	}
	if allReady && next != nil {
		p.restart = append(p.restart, next)
	}
	return p
}
