// Package tour takes the tour of SlimFaas's demo with the functions and jobs of deploy/demo/slimfaas: sync and async calls, dependencies, private
// functions, events, waking, a callback and jobs. It knows a gateway only, so that the same tour is taken in the local mode and on a cluster.
package tour

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Call is a request to the gateway. The callers of a tour are outside.
type Call struct {
	Method, Path string
	Header       map[string]string
	Body         string
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Gateway sends calls. An error means that there was no answer.
type Gateway interface {
	Send(ctx context.Context, call Call) (Answer, error)
}

// patience is how long what must happen may take: a pod's start on a busy machine is in it.
const patience = 2 * time.Minute

// Take takes the whole tour. The functions are known to the gateway, and /functions answers.
func Take(ctx context.Context, t *testing.T, gateway Gateway) {
	tourist := &tourist{gateway: gateway}
	for _, stop := range []struct {
		sentence string
		visit    func(context.Context, *testing.T)
	}{
		{"the status has the public functions, each with five keys", tourist.status},
		{"a sync call is answered", tourist.sync},
		{"a picture arrives whole", tourist.download},
		{"an error of the function is the answer", tourist.failure},
		{"a function starts after what it depends on", tourist.dependsOn},
		{"a private function is not there from outside, and answers from inside", tourist.private},
		{"functions call each other through the gateway", tourist.recursion},
		{"an async call is delivered", tourist.async},
		{"an answer can be waited for", tourist.wait},
		{"an event reaches every replica of its subscribers", tourist.event},
		{"a private event can be published from inside only", tourist.privateEvent},
		{"functions are woken", tourist.wake},
		{"a call with a callback stays open until that comes", tourist.callback},
		{"a job runs with the arguments of its request", tourist.job},
		{"the status of jobs has the public ones with their runs", tourist.jobStatus},
		{"no more jobs run than NumberParallelJob says, the others have a place, and each can be cancelled", tourist.jobQueue},
		{"a private job is not there from outside", tourist.privateJob},
		{"a job takes an image of its list and no other", tourist.jobImage},
	} {
		t.Run(stop.sentence, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			stop.visit(ctx, t)
		})
	}
}

type tourist struct{ gateway Gateway }

// want sends a call that must get the status, once it does: what a function publishes may take a moment to be known.
func (o *tourist) want(ctx context.Context, t *testing.T, call Call, status int) Answer {
	t.Helper()
	answer, err := o.gateway.Send(ctx, call)
	if err != nil {
		t.Fatalf("%s %s: %v", call.Method, call.Path, err)
	}
	if answer.Status != status {
		t.Fatalf("%s %s: %d %s, want %d", call.Method, call.Path, answer.Status, answer.Body, status)
	}
	return answer
}

func get(path string) Call { return Call{Method: http.MethodGet, Path: path} }
func post(path, body string) Call {
	return Call{Method: http.MethodPost, Path: path, Body: body, Header: map[string]string{"Content-Type": "application/json"}}
}

// until waits for a condition, which says what it sees.
func until(ctx context.Context, t *testing.T, what string, condition func() (bool, string)) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		done, seen := condition()
		if done {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s; last seen: %s", what, seen)
		}
	}
}

func (o *tourist) status(ctx context.Context, t *testing.T) {
	answer := o.want(ctx, t, get("/status-functions"), http.StatusOK)
	var list []map[string]any
	if err := json.Unmarshal(answer.Body, &list); err != nil {
		t.Fatalf("%v in %s", err, answer.Body)
	}
	names := map[string]bool{}
	for _, one := range list {
		name, _ := one["Name"].(string)
		names[name] = true
		if len(one) != 5 {
			t.Errorf("the status of %s has the keys %v, want five", name, one)
		}
	}
	for _, name := range []string{"fibonacci1", "fibonacci2", "fibonacci3", "mysql"} {
		if !names[name] {
			t.Errorf("%s is not in %s", name, answer.Body)
		}
	}
	if names["fibonacci4"] {
		t.Error("the private fibonacci4 is shown to a caller from outside")
	}
	const order = `"NumberReady":%s"NumberRequested":%s"PodType":%s"Visibility":%s"Name":`
	rest := string(answer.Body)
	for key := range strings.SplitSeq(order, "%s") {
		_, after, found := strings.Cut(rest, key)
		if !found {
			t.Fatalf("the keys are not in their order in %s", answer.Body)
		}
		rest = after
	}
}

func (o *tourist) sync(ctx context.Context, t *testing.T) {
	if answer := o.want(ctx, t, get("/function/fibonacci1/hello/Ada"), http.StatusOK); string(answer.Body) != "Hello Ada!" {
		t.Errorf("got %q", answer.Body)
	}
	if answer := o.want(ctx, t, post("/function/fibonacci1/fibonacci", `{"input":10}`), http.StatusOK); strings.TrimSpace(string(answer.Body)) != `{"result":55}` {
		t.Errorf("got %q", answer.Body)
	}
}

func (o *tourist) download(ctx context.Context, t *testing.T) {
	answer := o.want(ctx, t, get("/function/fibonacci1/download"), http.StatusOK)
	if _, err := png.Decode(bytes.NewReader(answer.Body)); err != nil || answer.Header.Get("Content-Type") != "image/png" {
		t.Errorf("%s: %v", answer.Header.Get("Content-Type"), err)
	}
}

func (o *tourist) failure(ctx context.Context, t *testing.T) {
	o.want(ctx, t, get("/function/fibonacci1/error"), http.StatusInternalServerError)
}

func (o *tourist) dependsOn(ctx context.Context, t *testing.T) {
	o.want(ctx, t, get("/function/fibonacci2/hello/Ada"), http.StatusOK)
	for _, name := range []string{"fibonacci1", "mysql"} {
		answer := o.want(ctx, t, get("/status-function/"+name), http.StatusOK)
		var status struct{ NumberReady int }
		if err := json.Unmarshal(answer.Body, &status); err != nil || status.NumberReady < 1 {
			t.Errorf("fibonacci2 has answered, and %s is not ready: %s", name, answer.Body)
		}
	}
}

func (o *tourist) private(ctx context.Context, t *testing.T) {
	unknown := o.want(ctx, t, get("/function/fibonacci9/hello/Ada"), http.StatusNotFound)
	private := o.want(ctx, t, get("/function/fibonacci4/hello/Ada"), http.StatusNotFound)
	if strings.ReplaceAll(string(unknown.Body), "fibonacci9", "fibonacci4") != string(private.Body) {
		t.Errorf("a private function is told from an unknown one: %s, %s", private.Body, unknown.Body)
	}
	o.want(ctx, t, post("/async-function/fibonacci4/fibonacci", `{"input":1}`), http.StatusNotFound)
	answer := o.want(ctx, t, post("/function/fibonacci3/fibonacci4", `{"input":11}`), http.StatusOK)
	if strings.TrimSpace(string(answer.Body)) != `{"result":55}` {
		t.Errorf("got %s", answer.Body)
	}
}

func (o *tourist) recursion(ctx context.Context, t *testing.T) {
	answer := o.want(ctx, t, post("/function/fibonacci3/fibonacci-recursive", `{"input":6}`), http.StatusOK)
	if strings.TrimSpace(string(answer.Body)) != `{"result":8,"numberCall":15}` {
		t.Errorf("got %s", answer.Body)
	}
}

// seen is one request for /fibonacci as a replica has seen it.
type seen struct {
	Input int    `json:"input"`
	Host  string `json:"host"`
	ID    string `json:"id"`
}

// seenBy asks a function's replicas, often enough that every one of some answers.
func (o *tourist) seenBy(ctx context.Context, t *testing.T, name string) []seen {
	t.Helper()
	var all []seen
	for range 6 {
		answer := o.want(ctx, t, get("/function/"+name+"/seen"), http.StatusOK)
		var some []seen
		if err := json.Unmarshal(answer.Body, &some); err != nil {
			t.Fatalf("%v in %s", err, answer.Body)
		}
		all = append(all, some...)
	}
	return all
}

func (o *tourist) async(ctx context.Context, t *testing.T) {
	accepted := o.want(ctx, t, post("/async-function/fibonacci3/fibonacci", `{"input":12}`), http.StatusAccepted)
	id := accepted.Header.Get("SlimFaas-Element-Id")
	if id == "" || len(accepted.Body) > 0 {
		t.Errorf("the answer has the id %q and the body %q", id, accepted.Body)
	}
	until(ctx, t, "the call is delivered", func() (bool, string) {
		all := o.seenBy(ctx, t, "fibonacci3")
		for _, one := range all {
			if one.ID == id && one.Input == 12 {
				return true, ""
			}
		}
		return false, fmt.Sprint(all)
	})
}

func (o *tourist) wait(ctx context.Context, t *testing.T) {
	call := post("/async-function/fibonacci3/fibonacci", `{"input":13}`)
	call.Header["Prefer"] = "wait=60"
	if answer := o.want(ctx, t, call, http.StatusOK); strings.TrimSpace(string(answer.Body)) != `{"result":233}` {
		t.Errorf("got %s", answer.Body)
	}
}

func (o *tourist) event(ctx context.Context, t *testing.T) {
	until(ctx, t, "both replicas of fibonacci3 are ready", func() (bool, string) {
		answer := o.want(ctx, t, get("/status-function/fibonacci3"), http.StatusOK)
		return strings.Contains(string(answer.Body), `"NumberReady":2`), string(answer.Body)
	})
	if answer := o.want(ctx, t, post("/publish-event/fibo-public/fibonacci", `{"input":14}`), http.StatusNoContent); len(answer.Body) > 0 {
		t.Errorf("got %s", answer.Body)
	}
	until(ctx, t, "the event is at both replicas of fibonacci3", func() (bool, string) {
		hosts := map[string]bool{}
		all := o.seenBy(ctx, t, "fibonacci3")
		for _, one := range all {
			if one.Input == 14 {
				hosts[one.Host] = true
			}
		}
		return len(hosts) == 2, fmt.Sprint(all)
	})
	o.want(ctx, t, post("/publish-event/fibo-unknown/fibonacci", `{"input":14}`), http.StatusNotFound)
}

func (o *tourist) privateEvent(ctx context.Context, t *testing.T) {
	o.want(ctx, t, post("/publish-event/fibo-private/fibonacci", `{"input":15}`), http.StatusNotFound)
	o.want(ctx, t, post("/function/fibonacci1/send-private-fibonacci-event", `{"input":15}`), http.StatusNoContent)
}

func (o *tourist) wake(ctx context.Context, t *testing.T) {
	for _, path := range []string{"/wake-function/mysql", "/wake-functions"} {
		o.want(ctx, t, post(path, ""), http.StatusNoContent)
		o.want(ctx, t, get(path), http.StatusNoContent)
	}
	o.want(ctx, t, post("/wake-function/fibonacci4", ""), http.StatusNotFound)
	until(ctx, t, "fibonacci2 and mysql are ready", func() (bool, string) {
		answer := o.want(ctx, t, get("/status-functions"), http.StatusOK)
		var list []struct {
			Name        string
			NumberReady int
		}
		if err := json.Unmarshal(answer.Body, &list); err != nil {
			t.Fatal(err)
		}
		ready := map[string]int{}
		for _, one := range list {
			ready[one.Name] = one.NumberReady
		}
		return ready["fibonacci2"] > 0 && ready["mysql"] > 0, string(answer.Body)
	})
}

func (o *tourist) callback(ctx context.Context, t *testing.T) {
	const seconds = 3
	start := time.Now()
	o.want(ctx, t, post(fmt.Sprintf("/async-function/fibonacci1/computeWithCallback?seconds=%d", seconds), `{"a":1}`), http.StatusAccepted)
	queued := func() (int, string) {
		answer := o.want(ctx, t, get("/functions/fibonacci1"), http.StatusOK)
		var description struct{ Queued *int }
		if err := json.Unmarshal(answer.Body, &description); err != nil || description.Queued == nil {
			t.Fatalf("%v in %s", err, answer.Body)
		}
		return *description.Queued, string(answer.Body)
	}
	until(ctx, t, "the call is over", func() (bool, string) {
		count, seen := queued()
		return count == 0, seen
	})
	if took := time.Since(start); took < seconds*time.Second {
		t.Errorf("the call was over after %s, before its callback", took)
	}
}
