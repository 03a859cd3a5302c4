package dispatcher

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// TestDispatcherEndsWithoutItsQueue: an error that waiting does not heal ends Run, and says what it is.
func TestDispatcherEndsWithoutItsQueue(t *testing.T) {
	r := newRig(t)
	js, err := jetstream.New(r.raw())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "foreign", Subjects: []string{"other.call.x"}}); err != nil {
		t.Fatal(err)
	}
	r.settings.Prefix = "other"
	s := r.dispatch()
	wait(t, "the end of Run", s.done)
	if s.err == nil || !strings.Contains(s.err.Error(), "overlap") {
		t.Errorf("it ended with %v", s.err)
	}
}
