package bus

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestPermanentErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code int
		sub  jetstream.ErrorCode
		want bool
	}{
		{400, 10003, true}, // a bad request
		{503, 10008, false},
		{408, 0, false},
		{429, 0, false},
		{409, duplicateInProcess, false},
		{400, noPeers, false}, // a server of three is starting
		{400, jetstream.JSErrCodeStreamNameInUse, false},
	} {
		err := fmt.Errorf("make it: %w", &jetstream.APIError{Code: c.code, ErrorCode: c.sub})
		if got := permanent(err); got != c.want {
			t.Errorf("%d %d: permanent is %v", c.code, c.sub, got)
		}
	}
	if permanent(errors.New("no answer")) || !permanent(fmt.Errorf("publish: %w", ErrQueueFull)) {
		t.Error("errors without a code are taken for others")
	}
}
