package natsperm

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// update writes what the product's own test reads anew: go test ./natsperm -run Golden -update.
var update = flag.Bool("update", false, "write services/local/testdata/nats-accounts.conf anew")

// patience is how long a test waits for what must happen.
const patience = time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
