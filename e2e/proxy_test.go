package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// proxied is a request through the API server's proxy, which reaches pods and services of any cluster.
type proxied struct {
	method string // GET if empty
	// resource is pods or services, target its name with port.
	resource, target string
	path             string
	query            map[string]string
	body             any
}

// send answers the status and the body. The error is that of the API server itself, or of who cannot be reached.
func (k *kube) send(ctx context.Context, p proxied) (status int, body []byte, err error) {
	if p.method == "" {
		p.method = http.MethodGet
	}
	request := k.CoreV1().RESTClient().Verb(p.method).Namespace(k.namespace).
		Resource(p.resource).Name(p.target).SubResource("proxy").Suffix(p.path)
	for key, value := range p.query {
		request.Param(key, value)
	}
	if p.body != nil {
		text, err := json.Marshal(p.body)
		if err != nil {
			return 0, nil, err
		}
		request.SetHeader("Content-Type", "application/json").Body(text)
	}
	result := request.Do(ctx).StatusCode(&status)
	body, err = result.Raw()
	if status >= 400 && len(body) > 0 {
		err = nil // an answer is an answer
	}
	return status, body, err
}

// readJSON sends the request and decodes its answer, which must be a success.
func (k *kube) readJSON(ctx context.Context, p proxied, into any) error {
	status, body, err := k.send(ctx, p)
	if err != nil {
		return fmt.Errorf("%s %s of %s: %w", p.method, p.path, p.target, err)
	}
	if status >= 300 {
		return fmt.Errorf("%s %s of %s: status %d: %.300s", p.method, p.path, p.target, status, body)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s %s of %s: %w in %.300s", p.method, p.path, p.target, err, body)
	}
	return nil
}

func podTarget(pod string, port int) string { return fmt.Sprintf("%s:%d", pod, port) }

// record is one call as a function has seen it; times are Unix nanoseconds.
type record struct {
	ID    string `json:"id"`
	Async bool   `json:"async"`
	Try   int    `json:"try"`
	Start int64  `json:"start"`
	End   int64  `json:"end"`

	pod string // who has seen it
}

// records are the ledgers of the pods.
func (k *kube) records(ctx context.Context, t *testing.T, pods ...corev1.Pod) []record {
	t.Helper()
	var all []record
	for _, pod := range pods {
		ledger, err := k.ledger(ctx, pod.Name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ledger...)
	}
	return all
}

func (k *kube) ledger(ctx context.Context, pod string) ([]record, error) {
	var answer struct {
		Records []record `json:"records"`
		Lost    int      `json:"lost"`
	}
	if err := k.readJSON(ctx, proxied{resource: "pods", target: podTarget(pod, functionPort), path: "/ledger"}, &answer); err != nil {
		return nil, err
	}
	if answer.Lost > 0 {
		return nil, fmt.Errorf("the ledger of %s is full: %d calls are not in it", pod, answer.Lost)
	}
	for i := range answer.Records {
		answer.Records[i].pod = pod
	}
	return answer.Records, nil
}

// stats are the counts of one pod of a function.
type stats struct {
	InFlight    int `json:"inFlight"`
	MaxInFlight int `json:"maxInFlight"`
	Count       int `json:"count"`
	// Told is when SIGTERM came, in Unix nanoseconds, 0 before.
	Told int64 `json:"told"`
}

func (k *kube) stats(ctx context.Context, pod string) (s stats, err error) {
	return s, k.readJSON(ctx, proxied{resource: "pods", target: podTarget(pod, functionPort), path: "/stats"}, &s)
}

// awaitInFlight waits until one of the app's ready pods has a call in flight, and returns it.
func (k *kube) awaitInFlight(ctx context.Context, t *testing.T, app string) corev1.Pod {
	t.Helper()
	var busy corev1.Pod
	until(ctx, t, "a call in flight at "+app, 30*time.Second, func(ctx context.Context) (bool, string) {
		pods, err := k.readyPods(ctx, app)
		if err != nil {
			return false, err.Error()
		}
		for _, pod := range pods {
			if s, err := k.stats(ctx, pod.Name); err == nil && s.InFlight > 0 {
				busy = pod
				return true, ""
			}
		}
		return false, fmt.Sprint(names(pods))
	})
	return busy
}

// description is what GET /functions/<name> of the gateway answers, reduced to what scenarios look at.
type description struct {
	Replicas  int `json:"replicas"`
	Endpoints []struct {
		Replica string `json:"replica"`
		Address string `json:"address"`
	} `json:"endpoints"`
	Decisions []struct {
		At       time.Time `json:"at"`
		Replicas int       `json:"replicas"`
		Reason   string    `json:"reason"`
	} `json:"decisions"`
	Problems []string `json:"problems"`
	InFlight int      `json:"inFlight"`
	Queued   *int     `json:"queued"`
}

// lastDecision is the newest one as text.
func (d description) lastDecision() string {
	if len(d.Decisions) == 0 {
		return "no decision"
	}
	last := d.Decisions[len(d.Decisions)-1]
	return fmt.Sprintf("%d: %s", last.Replicas, last.Reason)
}
