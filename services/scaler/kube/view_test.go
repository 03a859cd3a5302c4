package kube

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/function"
)

// ownPods selects the pods of Sluice itself.
var ownPods = labels.SelectorFromSet(labels.Set{"app.kubernetes.io/part-of": "sluice"})

// viewed is a view and the ways to write it, as the reflectors have them.
type viewed struct {
	*view
	logs *bytes.Buffer
}

func newViewed() viewed {
	logs := &bytes.Buffer{}
	return viewed{newView(zerolog.New(logs), ownPods), logs}
}

func (v viewed) put(objects ...any) {
	for _, object := range objects {
		k := keeper{view: v.view, kind: kindOf(object)}
		k.Lock()
		k.Put(object)
		k.Unlock()
	}
}

func (v viewed) drop(objects ...any) {
	for _, object := range objects {
		meta, _ := object.(metav1.Object)
		k := keeper{view: v.view, kind: kindOf(object)}
		k.Lock()
		k.Drop(meta.GetUID())
		k.Unlock()
	}
}

func kindOf(object any) int {
	switch fmt.Sprintf("%T", object) {
	case "*v1.Deployment":
		return ofDeployments
	case "*v1.StatefulSet":
		return ofStatefulSets
	case "*v1.Pod":
		return ofPods
	case "*v1.Service":
		return ofServices
	}
	return ofReplicaSets
}

// at is the function's workload some minutes after the birth.
func (v viewed) at(t *testing.T, name string, minutes int) function.Workload {
	t.Helper()
	o, exists := v.observe(name, minute(minutes).Time)
	if !exists {
		t.Fatalf("there is no function %s", name)
	}
	return o.workload
}

func endpointsOf(w function.Workload) (all []string) {
	for _, e := range w.ReadyEndpoints() {
		all = append(all, e.Replica+"="+e.Address)
	}
	return all
}

// Pods belong by the chain of owners alone: neither a name that looks right nor a label makes one a replica.
func TestPodsBelongByOwnerChain(t *testing.T) {
	stranger := onePod("f-abc-5", "ReplicaSet", "set-of-g", "10.0.0.5")
	loose := onePod("f-abc-6", "ReplicaSet", "rs-1", "10.0.0.6")
	loose.OwnerReferences = nil
	notController := onePod("f-abc-7", "ReplicaSet", "rs-1", "10.0.0.7")
	notController.OwnerReferences[1].Controller = ptr.To(false)
	otherGroup := onePod("f-abc-8", "ReplicaSet", "rs-1", "10.0.0.8")
	otherGroup.OwnerReferences[1].APIVersion = "appsx/v1"
	objects := []any{
		deployment("f", "d-1", 2, isFunction()), deployment("g", "d-2", 1, isFunction()), statefulSet("s", "s-1", 1, isFunction()),
		replicaSet("f-abc", "rs-1", "d-1"), replicaSet("f-old", "rs-0", "d-1"), replicaSet("g-abc", "set-of-g", "d-2"),
		onePod("f-abc-1", "ReplicaSet", "rs-1", "10.0.0.1"), onePod("f-old-1", "ReplicaSet", "rs-0", "10.0.0.2"), onePod("s-0", "StatefulSet", "s-1", "10.0.0.3"),
		stranger, loose, notController, otherGroup,
	}
	want := map[string][]string{"f": {"f-abc-1=10.0.0.1:8080", "f-old-1=10.0.0.2:8080"}, "g": {"f-abc-5=10.0.0.5:8080"}, "s": {"s-0=10.0.0.3:8080"}}
	// The four kinds are reported independently of one another: any order leads to the same.
	for shift := range objects {
		v := newViewed()
		v.put(slices.Concat(objects[shift:], objects[:shift])...)
		for name, endpoints := range want {
			if got := endpointsOf(v.at(t, name, 5)); !slices.Equal(got, endpoints) {
				t.Errorf("from %d on: %s has %v, want %v", shift, name, got, endpoints)
			}
		}
		if stale := v.takeStale(); !slices.Equal(stale, []string{"f", "g", "s"}) {
			t.Errorf("from %d on: %v are reported", shift, stale)
		}
	}
}

// Whatever changes marks the function that it belongs to, and no other.
func TestChangesMarkTheirFunction(t *testing.T) {
	v := newViewed()
	set, p := replicaSet("f-1", "rs-1", "d-1"), onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1")
	v.put(deployment("f", "d-1", 1, isFunction()), deployment("g", "d-2", 1, isFunction()), deployment("none", "d-3", 1, nil))
	v.takeStale()
	ended := onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1")
	ended.DeletionTimestamp = ptr.To(minute(4))
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"a pod of a ReplicaSet that is not known", func() { v.put(p) }, ""},
		{"then the ReplicaSet", func() { v.put(set) }, "f"},
		{"the pod changes", func() { v.put(ended) }, "f"},
		{"the pod goes", func() { v.drop(ended) }, "f"},
		{"the ReplicaSet goes to another one", func() { v.put(replicaSet("f-1", "rs-1", "d-2")) }, "f g"},
		{"the ReplicaSet is orphaned", func() { v.put(&metav1.PartialObjectMetadata{ObjectMeta: meta("f-1", "rs-1", 1, nil)}) }, "g"},
		{"no function", func() { v.put(deployment("none", "d-3", 2, nil)) }, ""},
		{"it becomes one", func() { v.put(deployment("none", "d-3", 2, isFunction())) }, "none"},
		{"it is one no more", func() { v.put(deployment("none", "d-3", 2, map[string]string{"sluice/Function": "false"})) }, "none"},
		{"a workload goes", func() { v.drop(deployment("g", "d-2", 1, isFunction())) }, "g"},
	} {
		step.do()
		if got := strings.Join(v.takeStale(), " "); got != step.want {
			t.Errorf("%s: %q is marked, want %q", step.name, got, step.want)
		}
	}
}

// All kinds are listed before the view is complete, and nothing is left of what is gone.
func TestListedIsComplete(t *testing.T) {
	v := newViewed()
	p, second := onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1"), onePod("s-0", "StatefulSet", "s-1", "10.0.0.2")
	g, s := deployment("g", "d-2", 1, isFunction()), statefulSet("s", "s-1", 1, isFunction())
	v.put(deployment("f", "d-1", 1, isFunction()), g, s, replicaSet("f-1", "rs-1", "d-1"), p, second)
	v.takeStale()
	listed := func(kind int, gone ...any) string {
		v.drop(gone...)
		v.list(kind)
		return strings.Join(v.takeStale(), " ")
	}
	if v.complete() {
		t.Error("nothing was listed yet")
	}
	v.put(deployment("f", "d-1", 3, isFunction()))
	if got := listed(ofDeployments, g); got != "f g" {
		t.Errorf("Deployments: %q", got)
	}
	if got := listed(ofStatefulSets, s); got != "s" {
		t.Errorf("StatefulSets: %q", got)
	}
	if got := listed(ofReplicaSets) + listed(ofServices); got != "" || v.complete() {
		t.Errorf("ReplicaSets and Services: %q", got)
	}
	if got := listed(ofPods, p, second); got != "f" || !v.complete() {
		t.Errorf("Pods: %q", got)
	}
	if len(v.pods)+len(v.owned)-1 != 0 || len(v.workloads) != 1 || len(v.functions) != 1 || len(v.silent) != 0 {
		t.Errorf("something is left: %+v", v.view)
	}
	if w := v.at(t, "f", 5); w.Replicas != 3 || len(w.Pods) != 0 {
		t.Errorf("observed %+v", w)
	}
}

func TestOldestOfOneNameIsTheFunction(t *testing.T) {
	v := newViewed()
	older, younger := deployment("f", "d-1", 1, isFunction()), statefulSet("f", "s-1", 4, isFunction())
	v.put(younger, older)
	w := v.at(t, "f", 5)
	want := "the StatefulSet f is no function, because this Deployment has the same name and is older: rename one"
	if w.Function.Kind != function.KindDeployment || w.Replicas != 1 || !slices.Equal(w.Problems, []string{want}) {
		t.Errorf("observed %+v", w)
	}
	v.drop(older)
	if w := v.at(t, "f", 5); w.Function.Kind != function.KindStatefulSet || w.Replicas != 4 || len(w.Problems) != 0 {
		t.Errorf("after the older has gone: %+v", w)
	}
}

func TestOldestPodsFirst(t *testing.T) {
	v := newViewed()
	v.put(deployment("f", "d-1", 3, isFunction()), replicaSet("f-1", "rs-1", "d-1"))
	for name, born := range map[string]int{"f-1-a": 9, "f-1-d": 3, "f-1-b": 4, "f-1-c": 4} {
		p := onePod(name, "ReplicaSet", "rs-1", "10.0.0.1")
		p.CreationTimestamp = minute(born)
		v.put(p)
	}
	var names []string
	for _, p := range v.at(t, "f", 10).Pods {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"f-1-d", "f-1-b", "f-1-c", "f-1-a"}) {
		t.Errorf("the order is %v", names)
	}
}

func TestWhatIsNoFunctionIsNotObserved(t *testing.T) {
	v := newViewed()
	leaving := deployment("leaving", "d-5", 1, isFunction())
	leaving.DeletionTimestamp = ptr.To(minute(4))
	for range 3 {
		v.put(deployment("plain", "d-1", 1, nil), deployment("off", "d-2", 1, map[string]string{"SlimFaas/Function": "false"}),
			deployment("odd", "d-3", 1, map[string]string{"sluice/Function": "yes"}), deployment("dot.ted", "d-4", 1, isFunction()), leaving)
	}
	if len(v.functions) != 0 {
		t.Errorf("functions are %v", v.functions)
	}
	lines := strings.Split(strings.TrimSpace(v.logs.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `\"yes\" is neither`) || !strings.Contains(lines[1], "dot.ted") {
		t.Errorf("the log says %q", lines)
	}
}

// Events name what the StatefulSet's controller cannot do; without reading them, its silence is told from patience.
func TestSilentStatefulSetIsBlocked(t *testing.T) {
	v := newViewed()
	v.put(statefulSet("s", "s-1", 2, isFunction()), notReady(onePod("s-0", "StatefulSet", "s-1", "10.0.0.1")))
	if o, _ := v.observe("s", minute(30).Time); o.workload.Blocked != "" {
		t.Error("it waits for its first pod, which is not ready")
	}
	v.put(onePod("s-0", "StatefulSet", "s-1", "10.0.0.1"))
	o, _ := v.observe("s", minute(30).Time)
	if o.workload.Blocked != "" || o.again <= 0 || o.again > silence+time.Second {
		t.Errorf("at first: %q, to look again after %v", o.workload.Blocked, o.again)
	}
	if w := v.at(t, "s", 31); w.Blocked != blockedBySilence || len(w.Problems) != 1 || !strings.HasPrefix(w.Problems[0], "it has 1 of 2 pods") {
		t.Errorf("then: %+v", w)
	}
	v.put(onePod("s-1", "StatefulSet", "s-1", "10.0.0.2"))
	if w := v.at(t, "s", 32); w.Blocked != "" || len(w.Problems) != 0 || len(v.silent) != 0 {
		t.Errorf("after the pod has come: %+v", w)
	}
	unseen := statefulSet("s", "s-1", 3, isFunction())
	unseen.Generation = 3
	v.put(unseen)
	if v.at(t, "s", 33); len(v.silent) != 0 {
		t.Error("its controller has not seen the specification")
	}
}

func TestRefusedPodsBlock(t *testing.T) {
	v := newViewed()
	d := deployment("f", "d-1", 3, isFunction())
	failure := func(message string) {
		d.Status.Conditions = conditions(message)
		v.put(d)
	}
	for message, blocks := range map[string]string{
		`pods "f-1-x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2`: blockedByQuota,
		`admission webhook "w" denied the request`:                                                       blockedByRefusal,
	} {
		failure(message)
		if w := v.at(t, "f", 5); w.Blocked != blocks || !slices.Equal(w.Problems, []string{"no further pod can be made: " + message}) {
			t.Errorf("observed %+v", w)
		}
	}
	failure("")
	if w := v.at(t, "f", 5); w.Blocked != "" || len(w.Problems) != 0 {
		t.Errorf("it is over: %+v", w)
	}
}

// Pods of a function at zero that end are no reason against its next start.
func TestTerminatingPodsDoNotBlock(t *testing.T) {
	v := newViewed()
	p := notReady(onePod("f-1-a", "ReplicaSet", "rs-1", ""))
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", Image: "x", State: waiting("ImagePullBackOff", "")}}
	v.put(deployment("f", "d-1", 0, isFunction()), replicaSet("f-1", "rs-1", "d-1"), p)
	if w := v.at(t, "f", 5); w.Blocked != blockedByImage {
		t.Errorf("blocked by %q", w.Blocked)
	}
	p.DeletionTimestamp = ptr.To(minute(4))
	v.put(p)
	if w := v.at(t, "f", 5); w.Blocked != "" || len(w.Pods) != 1 {
		t.Errorf("observed %+v", w)
	}
}
