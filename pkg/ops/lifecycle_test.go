package ops_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluicefaas/sluice/pkg/ops"
)

// journal is the order in which things happened, with the time since the start.
type journal struct {
	start time.Time

	mu    sync.Mutex // guards lines
	lines []string
}

func newJournal() *journal { return &journal{start: time.Now()} }

func (j *journal) add(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, time.Since(j.start).String()+" "+what)
}

func (j *journal) want(t *testing.T, lines ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.lines, lines) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(j.lines, "\n  "), strings.Join(lines, "\n  "))
	}
}

// stage finishes what it has begun in the time busy, or notes that it was interrupted.
func (j *journal) stage(name string, busy time.Duration) ops.Stage {
	return ops.Stage{Name: name, Run: func(take, work context.Context) error {
		<-take.Done()
		j.add(name + " told")
		select {
		case <-time.After(busy):
			j.add(name + " finished")
		case <-work.Done():
			j.add(name + " interrupted")
		}
		return nil
	}}
}

func failing(name string, after time.Duration, err error) ops.Stage {
	return ops.Stage{Name: name, Run: func(context.Context, context.Context) error {
		time.Sleep(after) //nolint:forbidigo // the time of synctest
		return err
	}}
}

// after returns a context that ends at that time.
func after(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(d, cancel)
	t.Cleanup(func() { timer.Stop(); cancel() })
	return ctx
}

func TestShutdownOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, health := newJournal(), ops.NewHealth()
		lifecycle := ops.Lifecycle{
			Health: health, DrainDelay: 5 * time.Second, DrainTimeout: 30 * time.Second, Logger: zerolog.Nop(),
			Stages: []ops.Stage{j.stage("gateway", 2*time.Second), j.stage("dispatcher", 3*time.Second), j.stage("scaler", 0)},
			Close:  func() { j.add("bus closed") },
		}
		done := background(func() error { return lifecycle.Run(after(t, time.Minute), context.Background()) })
		time.Sleep(time.Minute + time.Second) //nolint:forbidigo // the time of synctest
		if status, _ := ask(t, health.ReadyHandler()); status != http.StatusServiceUnavailable {
			t.Errorf("ready is %d in the drain delay", status)
		}
		j.want(t)
		if err := <-done; err != nil {
			t.Error(err)
		}
		j.want(t, "1m5s gateway told", "1m7s gateway finished", "1m7s dispatcher told", "1m10s dispatcher finished",
			"1m10s scaler told", "1m10s scaler finished", "1m10s bus closed")
	})
}

func TestDrainTimeoutInterruptsEveryStageBeforeTheBusCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		lifecycle := ops.Lifecycle{
			DrainTimeout: 30 * time.Second, Logger: zerolog.Nop(), Close: func() { j.add("bus closed") },
			Stages: []ops.Stage{j.stage("gateway", 10*time.Second), j.stage("dispatcher", time.Hour)},
		}
		if err := lifecycle.Run(after(t, time.Minute), context.Background()); err != nil {
			t.Error(err)
		}
		j.want(t, "1m0s gateway told", "1m10s gateway finished", "1m10s dispatcher told", "1m30s dispatcher interrupted", "1m30s bus closed")
	})
}

func TestEndOfWorkInterruptsAtOnceAlsoInTheDrainDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		lifecycle := ops.Lifecycle{
			DrainDelay: time.Hour, DrainTimeout: time.Hour, Logger: zerolog.Nop(),
			Stages: []ops.Stage{j.stage("gateway", time.Hour)},
		}
		if err := lifecycle.Run(after(t, time.Second), after(t, 3*time.Second)); err != nil {
			t.Error(err)
		}
		j.add("returned")
		j.want(t, "3s gateway told", "3s gateway interrupted", "3s returned")
	})
}

func TestStageThatFailsEndsTheOthersWithoutDelay(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"error", broken, "scaler: broken"},
		{"nil", nil, "scaler: ended before it was told to"},
		{"cancelled", context.Canceled, "scaler: context canceled"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				lifecycle := ops.Lifecycle{
					DrainDelay: time.Hour, DrainTimeout: 30 * time.Second, Logger: zerolog.Nop(), Close: func() { j.add("bus closed") },
					Stages: []ops.Stage{j.stage("gateway", time.Second), failing("scaler", time.Minute, test.err)},
				}
				err := lifecycle.Run(context.Background(), context.Background())
				if err == nil || err.Error() != test.want || test.err != nil && !errors.Is(err, test.err) {
					t.Errorf("got %v, want %s", err, test.want)
				}
				j.want(t, "1m0s gateway told", "1m1s gateway finished", "1m1s bus closed")
			})
		})
	}
}

func TestErrorsOfSeveralStagesAreAllReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lifecycle := ops.Lifecycle{DrainTimeout: time.Minute, Logger: zerolog.Nop(), Stages: []ops.Stage{
			failing("one", 2*time.Second, errors.New("second")),
			failing("two", time.Second, errors.New("first")),
			{Name: "three", Run: ops.Prompt(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })},
		}}
		err := lifecycle.Run(context.Background(), context.Background())
		if err == nil || err.Error() != "two: first\none: second" {
			t.Errorf("got %v", err)
		}
	})
}

func TestStageThatIgnoresItsInterruptIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, free := newJournal(), make(chan struct{})
		hang := func(context.Context, context.Context) error { <-free; return nil }
		lifecycle := ops.Lifecycle{
			DrainTimeout: time.Second, Logger: zerolog.Nop(), Close: func() { j.add("bus closed") },
			Stages: []ops.Stage{{Name: "gateway", Run: hang}, {Name: "dispatcher", Run: hang}, j.stage("scaler", time.Hour)},
		}
		err := lifecycle.Run(cancelled(), context.Background())
		want := "gateway: did not end within 5s of being interrupted\ndispatcher: did not end within 5s of being interrupted"
		if err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
		j.want(t, "1s scaler told", "1s scaler interrupted", "6s bus closed")
		close(free)
	})
}

func TestLifecycleIsAStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		inner := ops.Lifecycle{DrainTimeout: time.Hour, Logger: zerolog.Nop(), Stages: []ops.Stage{j.stage("inner", time.Second)}}
		outer := ops.Lifecycle{
			DrainTimeout: time.Hour, Logger: zerolog.Nop(),
			Stages: []ops.Stage{{Name: "first", Run: inner.Run}, j.stage("second", time.Second)},
		}
		if err := outer.Run(cancelled(), context.Background()); err != nil {
			t.Error(err)
		}
		j.want(t, "0s inner told", "1s inner finished", "1s second told", "2s second finished")
	})
}
