package bus

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// answerAt is an answer with the message at that place, sent behind the one before.
func answerAt(place, before int) *nats.Msg {
	return &nats.Msg{Header: nats.Header{
		jetstream.SequenceHeader: {strconv.Itoa(place)}, jetstream.TimeStampHeaer: {"2026-01-02T03:04:05Z"}, jetstream.SubjectHeader: {"s"},
		"Nats-Last-Sequence": {strconv.Itoa(before)}, "Nats-Num-Pending": {"9"},
	}}
}

func endOfBatch(before, pending int) *nats.Msg {
	return &nats.Msg{Header: nats.Header{"Status": {"204"}, "Nats-Last-Sequence": {strconv.Itoa(before)}, "Nats-Num-Pending": {strconv.Itoa(pending)}}}
}

// An answer that is lost on the way is noticed, and the scan goes on in front of it.
func TestScanNoticesAnswersThatAreLost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []*nats.Msg
		told    string
		next    uint64
		more    bool
		fails   bool
	}{
		"all":           {answers: []*nats.Msg{answerAt(3, 0), answerAt(7, 3), endOfBatch(7, 1)}, told: "[3 7]", next: 8, more: true},
		"the end":       {answers: []*nats.Msg{answerAt(3, 0), endOfBatch(3, 0)}, told: "[3]", next: 4},
		"the first":     {answers: []*nats.Msg{answerAt(7, 3)}, told: "[]", next: 1, fails: true},
		"the middle":    {answers: []*nats.Msg{answerAt(3, 0), answerAt(9, 7)}, told: "[3]", next: 4, fails: true},
		"the last":      {answers: []*nats.Msg{answerAt(3, 0), endOfBatch(7, 0)}, told: "[3]", next: 4, fails: true},
		"nothing there": {answers: []*nats.Msg{{Header: nats.Header{"Status": {"404"}}}}, told: "[]", next: 1},
		"no service":    {answers: []*nats.Msg{{Header: nats.Header{"Status": {"503"}}}}, told: "[]", next: 1, fails: true},
	} {
		var told []uint64
		s := &scanner{bus: &Bus{}, stream: "s", next: 1, each: func(msg *storedMessage) bool { told = append(told, msg.Sequence); return true }}
		answers := make(chan *nats.Msg, len(c.answers))
		for _, answer := range c.answers {
			answers <- answer
		}
		more, err := s.read(within(t, patience), answers)
		if fmt.Sprint(told) != c.told || s.next != c.next || more != c.more || (err != nil) != c.fails {
			t.Errorf("%s: told %v, next %d, more %v, %v", name, told, s.next, more, err)
		}
	}
}

// A scan of a stream that is not there ends with an error, in time.
func TestScanOfNoStream(t *testing.T) {
	t.Parallel()
	b := connectOnly(t, bustest.Start(t).URL(), func(c *Config) { c.Settings.PublishPatience = 200 * time.Millisecond })
	if _, err := b.scan(within(t, unhurried), "none", lookup{Next: "s"}, func(*storedMessage) bool { return true }); err == nil {
		t.Error("no error")
	}
}
