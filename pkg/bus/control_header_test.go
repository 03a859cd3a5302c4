package bus

import (
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// A header of an HTTP caller never acts on the stream, and the function gets it under its own name.
func TestCallersControlHeadersAreHarmless(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	headers := map[string]string{
		"Nats-Rollup": "all", "Nats-Msg-Id": "same", "Nats-Expected-Last-Sequence": "999", "Nats-Expected-Last-Subject-Sequence": "7",
		"Nats-Expected-Stream": "other", "Nats-Expected-Last-Msg-Id": "x", "Nats-TTL": "1s", "Nats-Schedule": "@at 2030-01-01T00:00:00Z",
		"Nats-Schedule-Target": "sluice.call.other", "Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Incr": "5", "Nats-Required-Api-Level": "99",
		"Nats-Trace-Dest": "sluice.call.other",
	}
	var names []string
	for name, value := range headers {
		for _, spelled := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			publish(t, b, Call{Function: "f", Header: http.Header{spelled: {value}}})
			names = append(names, name)
		}
	}
	depths, err := b.Depths(within(t, patience))
	if err != nil || len(depths) != 1 || depths["f"] != uint64(len(names)) {
		t.Fatalf("the queues have %v (%v), want %d in one", depths, err, len(names))
	}
	for i, d := range pulled(t, consumer(t, b, "f"), len(names)) {
		canonical := textproto.CanonicalMIMEHeaderKey(names[i])
		if got := d.Call.Header[canonical]; d.Err != nil || len(d.Call.Header) != 1 || len(got) != 1 || got[0] != headers[names[i]] {
			t.Errorf("%s came as %v (%v)", names[i], d.Call.Header, d.Err)
		}
	}
}

// Nothing in the fields of a call can add a line to the message's header.
func TestLineBreaksAddNoHeader(t *testing.T) {
	t.Parallel()
	b := connect(t, bustest.Start(t))
	publish(t, b, Call{Function: "f"})
	evil := "x\r\nNats-Rollup: all"
	publish(t, b, Call{Function: "f", Method: evil, Path: "/" + evil, Query: evil, Header: http.Header{"X": {evil}}})
	deliveries := pulled(t, consumer(t, b, "f"), 2)
	if deliveries[0].Err != nil || deliveries[1].Err == nil {
		t.Fatalf("got %v and %v", deliveries[0].Err, deliveries[1].Err)
	}
}
