package local

import (
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	now := time.Now()
	var b backoff
	if wait := b.wait(now); wait != 0 {
		t.Errorf("the first start waits %s", wait)
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		b.fail(now, 59*time.Second)
		if wait := b.wait(now); wait != want*time.Second {
			t.Errorf("failure %d waits %s, want %s", b.failures, wait, want*time.Second)
		}
	}
	if wait := b.wait(now.Add(20 * time.Second)); wait != 10*time.Second {
		t.Errorf("20 s after the failure it waits %s", wait)
	}
	b.fail(now, stableAfter)
	if wait := b.wait(now); wait != firstBackoff {
		t.Errorf("after a stable time it waits %s", wait)
	}
	b.fail(now, 0)
	b.wait(now.Add(forgottenAfter))
	b.fail(now.Add(forgottenAfter), 0)
	if b.failures != 1 {
		t.Errorf("%d failures are counted after a long time at zero", b.failures)
	}
}

func TestBackoffDoesNotOverflow(t *testing.T) {
	b := backoff{failures: 1 << 40, failedAt: time.Now()}
	if wait := b.wait(b.failedAt); wait != maxBackoff {
		t.Errorf("waits %s", wait)
	}
}
