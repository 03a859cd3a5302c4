package bus

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
	"github.com/sluicefaas/sluice/pkg/function"
)

// limited starts a server with one user, who may publish and subscribe to these subjects alone.
func limited(t *testing.T, publish, subscribe []string) *bustest.Server {
	t.Helper()
	return bustest.Start(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: password, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe},
		}}}
	})
}

func asUser(c *Config) { c.Auth, c.Service = Auth{User: "u", Password: password}, "tester" }

// What the server does not permit is told with its subject, once in a while and not for each message.
func TestRefusedSubjectsAreTold(t *testing.T) {
	t.Parallel()
	s := limited(t, []string{"sluice.activity"}, []string{"_INBOX.sluice.tester.>"})
	told := make(events, 1000)
	b := connectOnly(t, s.URL(), asUser, told.config)
	awaitConnection(t, b)
	for range 500 {
		if err := b.Wake("f"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.conn.Flush(); err != nil {
		t.Fatal(err)
	}
	stop, err := b.OnWake(func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	wakes := 0
	for {
		said := next(t, told)
		if strings.Contains(said, "not permitted") && strings.Contains(said, `Publish to "sluice.wake.f"`) {
			wakes++
		}
		if strings.Contains(said, "not permitted") && strings.Contains(said, `Subscription to "sluice.wake.*"`) {
			break
		}
	}
	if wakes != 1 {
		t.Errorf("500 refusals were told %d times", wakes)
	}
}

// All that a Bus hears of its own requests comes on subjects of its service.
func TestInboxesAreOfTheService(t *testing.T) {
	t.Parallel()
	for name, changes := range map[string][]func(*Config){"alone": {asUser}, "in groups": {asUser, func(c *Config) { c.GroupCommit = true }}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := limited(t, []string{">"}, []string{"_INBOX.sluice.tester.>", "sluice.revision"})
			b := connect(t, s, append(changes, func(c *Config) {
				c.Notify = func(event string, err error) {
					if event == "not permitted" {
						t.Error(err)
					}
				}
			})...)
			functions, err := b.OpenFunctions(within(t, patience))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := functions.Put(within(t, patience), function.State{Function: function.Function{Name: "f"}}); err != nil {
				t.Fatal(err)
			}
			if states, err := functions.Load(within(t, patience)); err != nil || len(states) != 1 {
				t.Error(states, err)
			}
			done := make(chan error, 100)
			for range cap(done) {
				go func() {
					_, err := b.PublishCall(context.WithoutCancel(t.Context()), Call{Function: "f", Method: "POST"})
					done <- err
				}()
			}
			for range cap(done) {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			for _, d := range pulled(t, consumer(t, b, "f"), cap(done)) {
				if err := d.Done(within(t, patience)); err != nil {
					t.Fatal(err)
				}
			}
			if _, ok, err := b.Oldest(within(t, patience), "f"); ok || err != nil {
				t.Error(ok, err)
			}
		})
	}
}

// Each error is told again after a while, and no more than so many.
func TestNoticesAreBounded(t *testing.T) {
	t.Parallel()
	n, now := &notices{}, time.Now()
	if !n.isNew("a", now) || n.isNew("a", now.Add(noticePause)) || !n.isNew("a", now.Add(noticePause+1)) {
		t.Error("an error is told at another time")
	}
	told := 0
	for i := range 10 * maxNotices {
		if n.isNew(strings.Repeat("x", i), now.Add(noticePause+1)) {
			told++
		}
	}
	if told != maxNotices-1 {
		t.Errorf("%d errors were told", told)
	}
}
