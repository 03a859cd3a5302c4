package kube

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluicefaas/sluice/pkg/function"
	"github.com/sluicefaas/sluice/pkg/kube"
)

// said are the sentences that wait to be written as Events.
func (v viewed) said() (sentences []string) {
	for {
		select {
		case c := <-v.complaints.queue:
			sentences = append(sentences, fmt.Sprintf("%s %s: %s", c.Kind, c.Name, c.Sentence))
		default:
			return sentences
		}
	}
}

// What is wrong is said once, and again only when it is something else.
func TestComplaintsAreSaidOnce(t *testing.T) {
	v := newViewed()
	wrong := func(least string) any { return deployment("f", "d-1", 1, isFunction("sluice/ReplicasMin", least)) }
	noPort := statefulSet("s", "s-1", 1, isFunction())
	noPort.Spec.Template = template()
	odd := deployment("odd", "d-2", 1, map[string]string{"sluice/Function": "yes"})
	for _, step := range []struct {
		name string
		put  any
		want []string // the beginnings
	}{
		{"right", wrong("1"), nil},
		{"wrong", wrong("many"), []string{`Deployment f: annotation sluice/ReplicasMin: "many"`}},
		{"the same", wrong("many"), nil},
		{"wrong otherwise", wrong("few"), []string{`Deployment f: annotation sluice/ReplicasMin: "few"`}},
		{"right again", wrong("2"), nil},
		{"wrong again", wrong("few"), []string{`Deployment f: annotation sluice/ReplicasMin: "few"`}},
		{"without port", noPort, []string{"StatefulSet s: no container has a containerPort"}},
		{"no function", odd, []string{`Deployment odd: annotation sluice/Function: "yes"`}},
		{"plain", deployment("plain", "d-3", 1, nil), nil},
	} {
		v.put(step.put)
		said := v.said()
		if len(said) != len(step.want) || len(said) == 1 && !strings.HasPrefix(said[0], step.want[0]) {
			t.Errorf("%s: it says %q", step.name, said)
		}
	}
	if lines := strings.Count(v.logs.String(), "\n"); lines != 5 {
		t.Errorf("%d lines in the log: %s", lines, v.logs)
	}
}

// What does not fit is in the log alone, and holds nothing up.
func TestComplaintsAreBounded(t *testing.T) {
	v := newViewed()
	for i := range kube.MaxComplaints + 10 {
		v.put(deployment(fmt.Sprint("f-", i), fmt.Sprint("d-", i), 1, isFunction("sluice/ReplicasMin", "many")))
	}
	if said := v.said(); len(said) != kube.MaxComplaints || !strings.Contains(v.logs.String(), "too many annotations are wrong") {
		t.Errorf("%d are queued", len(said))
	}
}

// A value that is wrong leaves the last valid one of the same object in force; of a new object it is the default.
func TestInvalidValueKeepsTheLastValidOne(t *testing.T) {
	v := newViewed()
	for _, step := range []struct {
		name, uid, least, port string
		want, wantPort         int
		problems               int
	}{
		{"valid", "d-1", "3", "port-1", 3, 9090, 0},
		{"invalid", "d-1", "many", "grpc", 3, 9090, 2},
		{"another invalid one", "d-1", "-1", "http", 3, 9090, 2},
		{"valid again", "d-1", "5", "port-0", 5, 8080, 0},
		{"invalid again", "d-1", "many", "99999", 5, 8080, 2},
		{"gone", "d-1", "", "", 0, 8080, 0},
		{"invalid from the start", "d-2", "many", "grpc", 0, 8080, 2},
	} {
		annotations := isFunction()
		if step.least != "" {
			annotations = isFunction("sluice/ReplicasMin", step.least, "sluice/Port", step.port)
		}
		d := deployment("f", step.uid, 1, annotations)
		d.Spec.Template = template(8080, 9090)
		if step.uid == "d-2" {
			v.drop(deployment("f", "d-1", 1, nil))
		}
		p := onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1")
		p.Spec = d.Spec.Template.Spec
		v.put(d, replicaSet("f-1", "rs-1", step.uid), p)
		w := v.at(t, "f", 5)
		address := fmt.Sprint("10.0.0.1:", step.wantPort)
		if w.Function.ReplicasMin != step.want || len(w.Problems) != step.problems || w.Pods[0].Address != address {
			t.Errorf("%s: ReplicasMin %d, %s, problems %q", step.name, w.Function.ReplicasMin, w.Pods[0].Address, w.Problems)
		}
		if step.name == "invalid" && !strings.HasSuffix(w.Problems[1], "; port 9090 still holds") {
			t.Errorf("it says %q", w.Problems)
		}
	}
}

// events are ours in the namespace: the object, reason and note of each.
func (n *namespace) events() (all []string) {
	n.T.Helper()
	list, err := n.Admin.CoreV1().Events(n.Name).List(n.T.Context(), metav1.ListOptions{FieldSelector: "reason=InvalidAnnotation"})
	if err != nil {
		n.T.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Type != corev1.EventTypeWarning || e.Source.Component != "sluice-scaler" || e.LastTimestamp.IsZero() || e.InvolvedObject.UID == "" {
			n.T.Errorf("the event is %+v", e)
		}
		all = append(all, fmt.Sprintf("%s %s %s: %s", e.InvolvedObject.APIVersion, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Message))
	}
	slices.Sort(all)
	return all
}

// The leader, and nobody else, writes an Event on the workload for each wrong value; the next leader does not repeat it.
func TestInvalidAnnotationIsAnEvent(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 1, nil)
	n.connect(n.config("idle")).DropConnections() // one that does not lead
	_, recorder, stop := n.watch()
	recorder.WaitSynced(t, patience)
	n.annotate("f", map[string]any{"sluice/ReplicasMin": "many"})
	recorder.Wait(t, "f", patience, func(w function.Workload) bool { return len(w.Problems) == 1 })
	n.Eventually("there is an Event", func() bool { return len(n.events()) == 1 })
	want := `apps/v1 Deployment f: annotation sluice/ReplicasMin: "many" is not a whole number`
	if got := n.events()[0]; !strings.HasPrefix(got, want) {
		t.Errorf("it is %q", got)
	}
	stop()
	_, recorder, _ = n.watch()
	recorder.Wait(t, "f", patience, func(w function.Workload) bool { return len(w.Problems) == 1 })
	n.annotate("f", map[string]any{"sluice/ReplicasMin": "0", "sluice/NumberParallelRequest": "none"})
	n.Eventually("there is an Event for the other value", func() bool {
		events := n.events()
		if len(events) > 2 {
			t.Fatalf("there are %q", events)
		}
		return len(events) == 2
	})
	if lines := n.Logs.With("an Event could not be written"); len(lines) > 0 {
		t.Error(lines)
	}
}

// What was there when the term began keeps the valid values of an earlier leader; what comes later has none.
func TestInvalidValueKeepsTheOneOfAnEarlierLeader(t *testing.T) {
	v := newViewed()
	v.earlier = func(name string) (function.Function, bool) {
		f := function.Defaults(name, function.KindDeployment)
		f.ReplicasMin = 3
		return f, name != "unknown"
	}
	wrong := isFunction("sluice/ReplicasMin", "many")
	v.put(deployment("there", "d-1", 1, wrong), deployment("unknown", "d-2", 1, wrong), statefulSet("another-kind", "s-1", 1, wrong))
	v.list(allKinds...)
	v.put(deployment("later", "d-3", 1, wrong), deployment("there", "d-1", 1, isFunction("sluice/ReplicasMin", "none")))
	for name, want := range map[string]int{"there": 3, "unknown": 0, "another-kind": 0, "later": 0} {
		if w := v.at(t, name, 5); w.Function.ReplicasMin != want || len(w.Problems) != 1 {
			t.Errorf("%s: ReplicasMin %d, want %d, problems %q", name, w.Function.ReplicasMin, want, w.Problems)
		}
	}
}
