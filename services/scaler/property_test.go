package scaler

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestNoCallIsCut lets everything happen in any order: answers of the cluster and of NATS that are late or lost, observations
// that lag, senders that lag, calls, crashes, counts set by others, NATS away. Whenever the cluster ends a replica because
// the scaler asked for fewer, no sender has a call in flight there or would send one; and in the end all is as wanted.
func TestNoCallIsCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"time passes":              w.pass,
			"a sender reads":           w.read,
			"a sender reports":         w.report,
			"a call begins":            w.begin,
			"a call ends":              w.end,
			"a call is queued":         w.queue,
			"a replica gets ready":     w.ready,
			"a replica crashes":        w.crash,
			"an ended replica goes":    w.vanish,
			"others set a count":       w.othersSet,
			"the cluster is observed":  w.observe,
			"a request is carried out": w.carryOut,
			"a request is answered":    w.answer,
			"a request fails":          w.fail,
			"a state is stored":        w.store,
			"a share is answered":      w.shareAnswered,
			"NATS goes or comes":       w.toggleNATS,
			"":                         w.check,
		})
		w.settle()
	})
}

// settle lets everything work and no call be made, until nothing changes any more.
func (w *world) settle() {
	w.up(w.t)
	for _, sender := range w.senders {
		clear(sender.calls)
	}
	w.depth = 0
	for range 400 {
		w.advance(time.Second)
		w.flush()
	}
	least := w.spec.ReplicasMin
	f := w.scaler.functions[w.spec.Name]
	if w.count != least || len(w.pods) != least {
		w.t.Fatalf("the cluster is asked for %d and has %d replicas, want %d of both", w.count, len(w.pods), least)
	}
	if len(f.draining) != 0 || f.asked != least || f.doubtful || f.setting || f.sharing || f.uncertain {
		w.t.Fatalf("the scaler is not at rest: %+v", *f)
	}
	if got := len(w.bucket[w.revision].endpoints); got != least {
		w.t.Fatalf("%d endpoints are shared, want %d", got, least)
	}
}
