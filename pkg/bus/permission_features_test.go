package bus

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/sluicefaas/sluice/pkg/bus/bustest"
)

// subjectsOf are those that a service needs for callbacks, results, events, keys and large bodies, beside what it always needs.
var subjectsOf = map[string]server.Permissions{
	"gateway": {
		Publish: &server.SubjectPermission{Allow: []string{
			"sluice.call.*", "$JS.API.STREAM.INFO.sluice-calls",
			"sluice.event.*", "sluice.callback.*", "$JS.API.DIRECT.GET.sluice-calls",
			"$JS.API.STREAM.INFO.KV_sluice-attempts", "$JS.API.DIRECT.GET.KV_sluice-attempts.$KV.sluice-attempts.*.*", "$KV.sluice-attempts.*.*",
			"$JS.API.STREAM.INFO.KV_sluice-keys", "$JS.API.DIRECT.GET.KV_sluice-keys.$KV.sluice-keys.*", "$KV.sluice-keys.*",
			"$O.sluice-bodies.C.*", "$O.sluice-bodies.M.*", "$JS.API.STREAM.PURGE.OBJ_sluice-bodies",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.sluice.gateway.>", "sluice.result.*.*"}},
	},
	"dispatcher": {
		Publish: &server.SubjectPermission{Allow: []string{
			"$JS.API.INFO", "$JS.API.STREAM.INFO.sluice-calls", "$JS.API.STREAM.CREATE.sluice-calls", "$JS.API.STREAM.UPDATE.sluice-calls",
			"$JS.API.STREAM.CREATE.sluice-dead", "$JS.API.STREAM.UPDATE.sluice-dead", "sluice.dead.*",
			"$JS.API.STREAM.CREATE.KV_sluice-attempts", "$JS.API.STREAM.UPDATE.KV_sluice-attempts", "$KV.sluice-attempts.*.*",
			"$JS.API.CONSUMER.CREATE.sluice-calls.*.sluice.call.*", "$JS.API.CONSUMER.MSG.NEXT.sluice-calls.*", "$JS.ACK.sluice-calls.>",
			"sluice.call.*", "sluice.result.*.*",
			"$JS.API.STREAM.CREATE.sluice-events", "$JS.API.STREAM.UPDATE.sluice-events",
			"$JS.API.STREAM.CREATE.KV_sluice-keys", "$JS.API.STREAM.UPDATE.KV_sluice-keys",
			"$JS.API.STREAM.CREATE.OBJ_sluice-bodies", "$JS.API.STREAM.UPDATE.OBJ_sluice-bodies",
			"$JS.API.DIRECT.GET.KV_sluice-attempts.$KV.sluice-attempts.*.*",
			"$JS.API.CONSUMER.CREATE.sluice-events.fanout.sluice.event.*", "$JS.API.CONSUMER.MSG.NEXT.sluice-events.fanout", "$JS.ACK.sluice-events.>",
			"$O.sluice-bodies.M.*", "$JS.API.DIRECT.GET.OBJ_sluice-bodies", "$JS.API.STREAM.INFO.OBJ_sluice-bodies", "$JS.API.STREAM.PURGE.OBJ_sluice-bodies",
			"$JS.API.STREAM.MSG.GET.sluice-calls", "$JS.API.STREAM.MSG.GET.sluice-dead", "$JS.API.STREAM.MSG.GET.OBJ_sluice-bodies",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.sluice.dispatcher.>", "sluice.callback.*"}},
	},
}

// asService returns a Bus that may use the service's subjects alone; another one fails the test.
func asService(t *testing.T, s *bustest.Server, service string) *Bus {
	t.Helper()
	return connectOnly(t, s.URL(), func(c *Config) {
		c.Auth, c.Service = Auth{User: service, Password: password}, service
		c.Notify = func(event string, err error) {
			if event == "not permitted" {
				t.Errorf("%s: %v", service, err)
			}
		}
	})
}

// Each service gets by with the subjects that its user has.
func TestFeaturesNeedNoOtherSubjects(t *testing.T) {
	t.Parallel()
	s := bustest.Start(t, func(o *server.Options) {
		for name, subjects := range subjectsOf {
			o.Users = append(o.Users, &server.User{Username: name, Password: password, Permissions: &subjects})
		}
	})
	dispatcher, gateway := asService(t, s, "dispatcher"), asService(t, s, "gateway")
	ensureBodies(t, dispatcher)
	if err := dispatcher.EnsureEvents(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	records := openAttempts(t, dispatcher)
	if err := gateway.AwaitCalls(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	attempts, err := gateway.AwaitAttempts(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	hints := make(chan string, 10)
	stop, err := dispatcher.OnCallback(func(_, id string) { hints <- id })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()

	token, result, stopWait := await(t, gateway)
	defer stopWait()
	data := randomBytes(2*objectChunk, 1)
	call := largeCall("f", data)
	call.IdempotencyKey, call.ResultTo = "k", token
	id := publish(t, gateway, call)
	call.Reader = largeCall("f", data).Reader
	if publish(t, gateway, call) != id {
		t.Error("the key does not hold")
	}
	c := consumer(t, dispatcher, "f")
	d := pulled(t, c, 1)[0]
	checkBody(t, d, data)
	if word, err := records.Open(within(t, patience), "f", id, Attempt{Until: time.Now().Add(time.Minute)}); word != "" || err != nil {
		t.Errorf("open: %q, %v", word, err)
	}
	if err := attempts.Callback(within(t, patience), "f", id, CallbackError); err != nil {
		t.Error(err)
	}
	next(t, hints)
	buried(t, dispatcher, d)
	done(t, d)
	sweep(t, dispatcher, 0)
	send(t, dispatcher, d.Call.ResultTo, Result{ID: id})
	next(t, result)

	publish(t, gateway, largeCall("f", data))
	done(t, pulled(t, c, 1)[0])
	follow(t, dispatcher, func(ctx context.Context, e followed) error {
		return dispatcher.PublishEventCall(ctx, "f", e.ID, e.Event)
	})
	publishEvent(t, gateway, Event{Name: "e"})
	if d := pulled(t, c, 1)[0]; d.Call.Event != "e" {
		t.Errorf("got %+v", d.Call)
	}
	call = largeCall("f", data)
	call.Size++
	if _, err := gateway.PublishCall(within(t, patience), call); err == nil {
		t.Error("a body that is cut off was taken")
	}
	if n := left(t, dispatcher); n != 3 {
		t.Errorf("%d messages are left", n)
	}
}
