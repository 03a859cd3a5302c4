package await_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sluicefaas/sluice/e2e/kube/await"
)

func TestUntil(t *testing.T) {
	failing := errors.New("not there")
	died := errors.New("etcd ended")
	dead, kill := context.WithCancelCause(t.Context())
	kill(died)
	for name, test := range map[string]struct {
		ctx   context.Context
		limit time.Duration
		check func(context.Context) error
		want  error
		text  string
	}{
		"at once":           {t.Context(), time.Minute, func(context.Context) error { return nil }, nil, ""},
		"at the third look": {t.Context(), time.Minute, after(2, failing), nil, ""},
		"never":             {t.Context(), 120 * time.Millisecond, func(context.Context) error { return failing }, failing, "wait for tea: not within 120ms"},
		"no answer":         {t.Context(), 120 * time.Millisecond, blocked, nil, "wait for tea: no answer within 120ms"},
		"a component died":  {dead, time.Minute, func(context.Context) error { return failing }, died, "wait for tea: etcd ended"},
	} {
		t.Run(name, func(t *testing.T) {
			err := await.Until(test.ctx, "tea", test.limit, test.check)
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v in it", err, test.want)
			}
			if test.text == "" && err != nil || test.text != "" && (err == nil || !strings.HasPrefix(err.Error(), test.text)) {
				t.Errorf("error %v, want %q", err, test.text)
			}
		})
	}
}

func after(failures int, err error) func(context.Context) error {
	return func(context.Context) error {
		if failures--; failures < 0 {
			return nil
		}
		return err
	}
}

func blocked(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
