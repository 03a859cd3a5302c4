package dispatcher

// maxRecent is how many ended calls a shift remembers: more than end while a server goes down.
const maxRecent = 1_024

// recent remembers the calls that have ended last, by stream sequence. The zero value is ready for use.
type recent struct {
	ring  []uint64
	next  int
	known map[uint64]bool
}

func (r *recent) add(sequence uint64) {
	if r.known == nil {
		r.known = map[uint64]bool{}
	}
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, sequence)
	} else {
		delete(r.known, r.ring[r.next])
		r.ring[r.next] = sequence
		r.next = (r.next + 1) % maxRecent
	}
	r.known[sequence] = true
}

func (r *recent) has(sequence uint64) bool { return r.known[sequence] }
