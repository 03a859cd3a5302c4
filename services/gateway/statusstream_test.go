package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/schedule"
)

// streamed is one event of the status stream.
type streamed struct{ name, data string }

// follow opens the status stream and passes its events on, until the test or the stream ends.
func (f *fixture) followStatus(inside bool) <-chan streamed {
	f.t.Helper()
	ctx, hangUp := context.WithCancel(context.Background())
	request := f.request("GET", "/status-functions-stream", "").WithContext(ctx)
	if inside {
		request = f.fromInside(request)
	}
	transport := &http.Transport{}
	answer := must(transport.RoundTrip(request))(f.t)
	if h := answer.Header; answer.StatusCode != http.StatusOK || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-cache" || h.Get("X-Accel-Buffering") != "no" {
		f.t.Fatalf("%s %v", answer.Status, h)
	}
	events, done := make(chan streamed, 1000), make(chan struct{})
	go func() {
		defer close(done)
		defer close(events)
		defer answer.Body.Close()
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, 16<<20)
		var event streamed
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "event":
				event.name = value
			case "data":
				event.data = value
			case "":
				events <- event
			}
		}
	}()
	f.t.Cleanup(func() { hangUp(); <-done; transport.CloseIdleConnections() })
	return events
}

// snapshot is the part of a state that tests look at.
type snapshot struct {
	Functions []map[string]any
	Queues    []streamQueue
	Raw       string `json:"-"`
}

// nextState waits for a snapshot that fits, and returns it.
func nextState(t testing.TB, events <-chan streamed, what string, fits func(snapshot) bool) snapshot {
	t.Helper()
	for {
		event := wait(t, what, events)
		if event.name != "state" {
			continue
		}
		s := snapshot{Raw: event.data}
		if err := json.Unmarshal([]byte(event.data), &s); err != nil {
			t.Fatalf("%s: %v", event.data, err)
		}
		if fits(s) {
			return s
		}
	}
}

// nextMovements waits for count movements, as events of one or of several.
func nextMovements(t testing.TB, events <-chan streamed, count int) (movements []map[string]any) {
	t.Helper()
	for len(movements) < count {
		event := wait(t, fmt.Sprintf("movement %d", len(movements)+1), events)
		switch event.name {
		case "activity":
			var one map[string]any
			if err := json.Unmarshal([]byte(event.data), &one); err != nil {
				t.Fatal(err)
			}
			movements = append(movements, one)
		case "activity_batch":
			var batch []map[string]any
			if err := json.Unmarshal([]byte(event.data), &batch); err != nil || len(batch) < 2 || len(batch) > maxBatch {
				t.Fatalf("%d movements, %v", len(batch), err)
			}
			movements = append(movements, batch...)
		}
	}
	return movements
}

func anyState(snapshot) bool { return true }

// TestStreamState: the names are SlimFaas', and a change comes within the interval.
func TestStreamState(t *testing.T) {
	f := start(t)
	s := state("f", "127.0.0.1:1")
	s.Function.DefaultTrust = function.Trusted
	s.Function.NumberParallelRequest, s.Function.NumberParallelRequestPerPod = 10, 3
	s.Function.Schedule = &schedule.Schedule{TimeZoneID: "Europe/Paris", WakeUp: []schedule.Clock{7*60 + 5}, ScaleDownTimeout: []schedule.Timeout{{Time: 0, Value: 20}}}
	s.Function.SubscribeEvents = subscriber("").Function.SubscribeEvents
	s.Function.PathVisibility = []function.PathRule{{Prefix: "/admin", Visibility: function.Private}, {Prefix: "/open", Visibility: function.Public}}
	s.Function.DependsOn = []string{"db"}
	f.put(s)
	events := f.followStatus(false)
	first := wait(t, "the first event", events)
	const want = `{"Functions":[{"Name":"f","NumberReady":1,"NumberRequested":1,"PodType":"Deployment","Visibility":"Public","Trust":"Trusted",` +
		`"ReplicasMin":0,"ReplicasAtStart":1,"TimeoutSecondBeforeSetReplicasMin":0,"NumberParallelRequest":10,"NumberParallelRequestPerPod":3,"Resources":null,` +
		`"Schedule":{"TimeZoneID":"Europe/Paris","Default":{"WakeUp":["07:05"],"ScaleDownTimeout":[{"Time":"00:00","Value":20}]}},"Scale":null,` +
		`"Retry":{"DefaultAsync":{"HttpTimeout":0,"TimeoutRetries":[],"HttpStatusRetries":[]},"DefaultPublish":{"HttpTimeout":0,"TimeoutRetries":[],"HttpStatusRetries":[]}},` +
		`"SubscribeEvents":[{"Name":"open","Visibility":"Public"}],"PathsStartWithVisibility":[{"Path":"/open","Visibility":"Public"}],"DependsOn":["db"],` +
		`"Pods":[{"Name":"replica-127.0.0.1:1","Status":"Running","Ready":true,"Ip":""}]}],` +
		`"Queues":[{"Name":"f","Length":0}],"Jobs":[],"RecentActivity":[],"SlimFaasReplicas":1,"SlimFaasNodes":[{"Name":"gateway-1","Status":"Running"}],` +
		`"FrontEnabled":true,"FrontMessage":null}`
	if first.name != "state" || first.data != want {
		t.Errorf("%s:\n%s, want\n%s", first.name, first.data, want)
	}
	f.send("POST", "/async-function/f", "x")
	nextState(t, events, "the queue", func(s snapshot) bool { return s.Queues[0].Length == 1 })
	f.put(state("g"))
	nextState(t, events, "another function", func(s snapshot) bool { return len(s.Functions) == 2 && len(s.Queues) == 2 })
	if err := f.store.Delete(t.Context(), "g"); err != nil {
		t.Fatal(err)
	}
	nextState(t, events, "a function less", func(s snapshot) bool { return len(s.Functions) == 1 })
}

// TestStreamIsQuiet: no snapshot comes that says nothing new.
func TestStreamIsQuiet(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	events := f.followStatus(false)
	nextState(t, events, "the first", anyState)
	select {
	case event := <-events:
		t.Errorf("%+v", event)
	case <-time.After(2 * stateInterval):
	}
}

// TestStreamOutside: private functions, their calls, and addresses are for those inside.
func TestStreamOutside(t *testing.T) {
	f := start(t)
	handler, _ := recorder()
	f.serve("open", handler)
	hidden := state("hidden", backend(t, handler))
	hidden.Function.DefaultVisibility = function.Private
	f.put(hidden)
	outside, inside := f.followStatus(false), f.followStatus(true)
	if s := nextState(t, outside, "the state", anyState); strings.Contains(s.Raw, "hidden") || len(s.Functions) != 1 || strings.Contains(s.Raw, `"Ip":"127`) {
		t.Errorf("outside: %s", s.Raw)
	}
	if s := nextState(t, inside, "the state", anyState); len(s.Functions) != 2 || len(s.Queues) != 2 || !strings.Contains(s.Raw, `"Ip":"127.0.0.1"`) {
		t.Errorf("inside: %s", s.Raw)
	}
	f.do(f.fromInside(f.request("GET", "/function/hidden", "")))
	if answer := f.send("GET", "/function/open", ""); answer.StatusCode != http.StatusOK {
		t.Fatalf("%s", answer.Status)
	}
	for _, m := range nextMovements(t, outside, 4) {
		if m["Target"] == "hidden" || m["SourcePod"] != nil || m["TargetPod"] != nil {
			t.Errorf("outside: %v", m)
		}
	}
	all := nextMovements(t, inside, 8)
	if !slices.ContainsFunc(all, func(m map[string]any) bool {
		return m["Target"] == "hidden" && m["TargetPod"] == "127.0.0.1" && m["SourcePod"] == "127.0.0.1"
	}) {
		t.Errorf("inside: %v", all)
	}
}

// TestStreamMovements: what a call does is told in order, and its ends say what they belong to.
func TestStreamMovements(t *testing.T) {
	f := start(t)
	handler, _ := recorder()
	f.put(state("f"))
	events := f.followStatus(false)
	nextState(t, events, "the state", anyState)
	answers := f.later(f.request("GET", "/function/f", ""))
	f.held("f", 1)
	f.serve("f", handler)
	wait(t, "the answer", answers)
	f.send("POST", "/async-function/f", "x")
	movements := nextMovements(t, events, 8)
	var got []string
	ids := map[any]any{}
	for _, m := range movements {
		got = append(got, fmt.Sprintf("%s %s>%s %v", m["Type"], m["Source"], m["Target"], m["QueueName"]))
		if ids[m["Id"]] != nil || m["NodeId"] != "gateway-1" || time.Since(time.UnixMilli(int64(m["TimestampMs"].(float64)))) > time.Minute {
			t.Errorf("%v", m)
		}
		ids[m["Id"]] = m["Type"]
	}
	want := []string{
		"request_in external>slimfaas <nil>", "request_waiting slimfaas>f <nil>", "request_started slimfaas>f <nil>", "request_out slimfaas>f <nil>",
		"request_end slimfaas>f <nil>", "request_end external>slimfaas <nil>", "request_in external>slimfaas <nil>", "enqueue slimfaas>f f",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for at, of := range map[int]int{4: 3, 5: 0, 7: 6} {
		if movements[at]["CorrelationId"] != movements[of]["Id"] {
			t.Errorf("%v belongs to %v", movements[at], movements[of])
		}
	}
	again := f.followStatus(false)
	if s := nextState(t, again, "the state", anyState); !strings.Contains(s.Raw, `"RecentActivity":[{"Id":"gateway-1-1"`) {
		t.Errorf("%s", s.Raw)
	}
}

// TestStreamOfEvents: an event goes to each of its subscribers.
func TestStreamOfEvents(t *testing.T) {
	f := start(t)
	f.events()
	f.put(subscriber("f"))
	stream := f.followStatus(false)
	nextState(t, stream, "the state", anyState)
	f.send("POST", "/publish-event/open", "")
	movements := nextMovements(t, stream, 3)
	if m := movements[1]; m["Type"] != "event_publish" || m["Target"] != "f" {
		t.Errorf("%v", movements)
	}
}

// TestNobodyWatches: then nothing is recorded.
func TestNobodyWatches(t *testing.T) {
	f := start(t)
	handler, _ := recorder()
	f.serve("f", handler)
	events := f.followStatus(false)
	nextState(t, events, "the state", anyState)
	f.send("GET", "/function/f", "")
	nextMovements(t, events, 4)
	if n := f.flow.watchers.Load(); n != 1 {
		t.Errorf("%d watch", n)
	}
	for _, c := range f.stream.list() {
		close(c.slow) // as if it were too slow
	}
	eventually(t, "the client to be dropped", func() bool { return f.flow.watchers.Load() == 0 })
	for range events { // it ends
	}
	f.send("GET", "/function/f", "")
	if moved := f.flow.take(); len(moved) > 0 {
		t.Errorf("%v", moved)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	f := start(t)
	for range maxStreams {
		if f.stream.join(false) == nil {
			t.Fatal("too few")
		}
	}
	expectProblem(t, f.send("GET", "/status-functions-stream", ""), fullStreams)
	expectProblem(t, f.send("POST", "/status-functions-stream", ""), wrongMethod)
	for _, c := range f.stream.list() {
		f.stream.leave(c)
	}
	nextState(t, f.followStatus(false), "the state", anyState)
}

// TestSlowStreamClient: he gets the newest snapshot, never a queue of them, and is dropped when movements pile up.
func TestSlowStreamClient(t *testing.T) {
	c := newStreamClient(false)
	c.show([][]byte{[]byte("before the first snapshot")})
	c.begun = true
	for i := range 1000 {
		c.tell(fmt.Append(nil, i))
	}
	if got := string(<-c.state); got != "999" || len(c.activity) > 0 {
		t.Errorf("%s, %d movements", got, len(c.activity))
	}
	for range 2 * streamBacklog {
		c.show([][]byte{[]byte("x")})
	}
	wait(t, "the client to be dropped", c.slow)
	if len(c.activity) != streamBacklog {
		t.Errorf("%d events wait", len(c.activity))
	}
}

// TestMovementsAreBounded: what nobody takes does not pile up, and many make few events.
func TestMovementsAreBounded(t *testing.T) {
	f := newFlow("n", nil)
	for range 2 * maxPending {
		f.record(movement{})
	}
	moved := f.take()
	frames := movementFrames(moved)
	if len(moved) != maxPending || len(frames) != maxPending/maxBatch || len(f.take()) != 0 {
		t.Errorf("%d movements in %d events", len(moved), len(frames))
	}
	for count, want := range map[int]string{1: "event: activity\n", 2: "event: activity_batch\n", maxBatch + 1: "event: activity_batch\n"} {
		if got := movementFrames(moved[:count]); !strings.HasPrefix(string(got[0]), want) || !strings.HasSuffix(string(got[0]), "}\n\n") && !strings.HasSuffix(string(got[0]), "]\n\n") {
			t.Errorf("%d: %.60s", count, got[0])
		}
	}
}

// TestStreamEndsWithTheGateway: at once.
func TestStreamEndsWithTheGateway(t *testing.T) {
	f := start(t)
	events := f.followStatus(false)
	nextState(t, events, "the state", anyState)
	f.stopTaking()
	if err := wait(t, "Run to return", f.ended); err != nil {
		t.Error(err)
	}
	for range events { // it ends
	}
}

// TestStreamWithoutNATS: the functions are shown, with the queues as they were.
func TestStreamWithoutNATS(t *testing.T) {
	f := start(t)
	f.put(state("f"))
	f.send("POST", "/async-function/f", "x")
	f.nats.Stop()
	events := f.followStatus(false)
	if s := nextState(t, events, "the state", anyState); len(s.Functions) != 1 || s.Queues[0].Length != 0 {
		t.Errorf("%s", s.Raw)
	}
	f.nats.Start()
	nextState(t, events, "the queue", func(s snapshot) bool { return s.Queues[0].Length == 1 })
}

// TestStreamHeartbeat: a client hears something although nothing happens.
func TestStreamHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, hangUp := context.WithCancel(t.Context())
		client, answer, done := newStreamClient(false), httptest.NewRecorder(), make(chan struct{})
		go func() {
			defer close(done)
			client.serve(ctx, answer, nil)
		}()
		client.tell([]byte("state"))
		time.Sleep(2*heartbeat + time.Second) //nolint:forbidigo // the bubble's time
		hangUp()
		<-done
		if got := answer.Body.String(); got != "state:\n\n:\n\n" || !answer.Flushed {
			t.Errorf("%q", got)
		}
	})
}
