package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/job"
)

// viewed is a view and the ways to write it, as what is followed has them.
type viewed struct {
	*view
	logs *bytes.Buffer
}

func newViewed() viewed {
	logs := &bytes.Buffer{}
	return viewed{newView(zerolog.New(logs)), logs}
}

func kindOf(object any) int {
	switch object.(type) {
	case *unstructured.Unstructured:
		return ofCronJobs
	case *batchv1.Job:
		return ofJobs
	case *corev1.Pod:
		return ofPods
	case *appsv1.Deployment:
		return ofDeployments
	case *appsv1.StatefulSet:
		return ofStatefulSets
	}
	return ofEvents
}

func (v viewed) put(objects ...any) {
	for _, object := range objects {
		k := keeper{view: v.view, kind: kindOf(object)}
		k.Lock()
		k.Put(object)
		k.Unlock()
	}
}

func (v viewed) drop(objects ...metav1.Object) {
	for _, object := range objects {
		k := keeper{view: v.view, kind: kindOf(object)}
		k.Lock()
		k.Drop(object.GetUID())
		k.Unlock()
	}
}

func (v viewed) list(kinds ...int) {
	for _, kind := range kinds {
		k := keeper{view: v.view, kind: kind}
		k.Lock()
		k.Listed()
		k.Unlock()
	}
}

// aCronJob is a definition whose jobTemplate is the JSON.
func aCronJob(name, uid, template string, annotations map[string]string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	text := fmt.Sprintf(`{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":%q,"uid":%q},"spec":{"schedule":"0 0 1 1 *","suspend":true,"jobTemplate":%s}}`, name, uid, template)
	if err := object.UnmarshalJSON([]byte(text)); err != nil {
		panic(err)
	}
	if annotations == nil {
		annotations = map[string]string{"sluice/Job": "true"}
	}
	object.SetAnnotations(annotations)
	return object
}

const plainTemplate = `{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"main","image":"example.test/batch:1"}]}}}}`

// The template reaches the definition whole: also what is newer than our client, and numbers as they are.
func TestTemplatesPassThroughWhole(t *testing.T) {
	const template = `{"metadata":{"labels":{"a":"b"}},"spec":{"brandNew":{"share":0.25,"many":9007199254740993,"none":null},"template":{"spec":{
		"containers":[{"name":"main","image":"example.test/batch:1","newField":["x"]}],"restartPolicy":"Never"}}}}`
	v := newViewed()
	v.put(aCronJob("f", "c-1", template, nil))
	d := v.take().definitions["f"]
	if d == nil {
		t.Fatal("it is no definition")
	}
	var got, want any
	for text, into := range map[string]*any{template: &want, string(d.Template): &got} {
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the template is %s", d.Template)
	}
}

// A CronJob is a definition while it is annotated, suspended and there; what is wrong with it is said once, and its last valid values hold.
func TestDefinitionsFollowTheirCronJobs(t *testing.T) {
	awake := aCronJob("f", "c-1", plainTemplate, nil)
	if err := unstructured.SetNestedField(awake.Object, false, "spec", "suspend"); err != nil {
		t.Fatal(err)
	}
	leaving := aCronJob("f", "c-1", plainTemplate, nil)
	leaving.SetDeletionTimestamp(ptr.To(second(9)))
	parallel := func(uid, value string) *unstructured.Unstructured {
		return aCronJob("f", uid, plainTemplate, map[string]string{"sluice/Job": "true", "sluice/NumberParallelJob": value})
	}
	v := newViewed()
	for _, step := range []struct {
		name     string
		do       func()
		marked   string
		parallel int // 0 for no definition
		said     int
	}{
		{"an ordinary one", func() { v.put(aCronJob("f", "c-1", plainTemplate, map[string]string{"other": "true"})) }, "", 0, 0},
		{"it is annotated", func() { v.put(aCronJob("f", "c-1", plainTemplate, nil)) }, "f", 1, 0},
		{"nothing new", func() { v.put(aCronJob("f", "c-1", plainTemplate, nil)) }, "", 1, 0},
		{"three at a time", func() { v.put(parallel("c-1", "3")) }, "f", 3, 0},
		{"a wrong value", func() { v.put(parallel("c-1", "many")) }, "f", 3, 1},
		{"the same", func() { v.put(parallel("c-1", "many")) }, "", 3, 0},
		{"another wrong value", func() { v.put(parallel("c-1", "-1")) }, "f", 3, 1},
		{"it runs by itself", func() { v.put(awake) }, "f", 0, 1},
		{"it is suspended", func() { v.put(parallel("c-1", "2")) }, "f", 2, 0},
		{"it is being deleted", func() { v.put(leaving) }, "f", 0, 0},
		{"it is gone", func() { v.drop(leaving) }, "", 0, 0},
		{"another one of its name", func() { v.put(parallel("c-2", "4")) }, "f", 4, 0},
		{"one more, before that is known to be gone", func() { v.put(parallel("c-3", "5")) }, "f", 5, 0},
		{"the one before goes", func() { v.drop(parallel("c-2", "4")) }, "", 5, 0},
		{"the last one goes", func() { v.drop(parallel("c-3", "5")) }, "f", 0, 0},
	} {
		step.do()
		marked := slices.Sorted(maps.Keys(v.take().definitions))
		got := 0
		if c := v.byName["f"]; c != nil && c.isJob {
			got = c.definition.Parallel
		}
		if strings.Join(marked, " ") != step.marked || got != step.parallel || len(v.complaints) != step.said {
			t.Errorf("%s: %q is marked, %d at a time, %d complaints; want %+v", step.name, marked, got, len(v.complaints), step)
		}
		for len(v.complaints) > 0 {
			if c := <-v.complaints; c.Kind != "CronJob" || c.APIVersion != "batch/v1" || c.Name != "f" || c.UID != "c-1" || c.Sentence == "" {
				t.Errorf("%s: %+v", step.name, c)
			}
		}
	}
	if len(v.cronJobs)+len(v.byName) > 0 {
		t.Errorf("left: %v %v", v.cronJobs, v.byName)
	}
	if lines := strings.Count(v.logs.String(), "\n"); lines != 3 {
		t.Errorf("the log has %s", v.logs)
	}
}

// What was there when the watch began keeps the valid values of an earlier leader; what comes later has none.
func TestWrongValueKeepsTheOneOfAnEarlierLeader(t *testing.T) {
	v := newViewed()
	v.earlier = func(name string) (job.Definition, bool) {
		if name == "configured" {
			return job.Definition{Name: name, Source: "SLIMFAAS_JOBS_CONFIGURATION", Parallel: 6}, true
		}
		return job.Definition{Name: name, Source: "CronJob/" + name, Parallel: 6}, name != "unknown"
	}
	wrong := map[string]string{"sluice/Job": "true", "sluice/NumberParallelJob": "many"}
	v.put(aCronJob("there", "c-1", plainTemplate, wrong), aCronJob("unknown", "c-2", plainTemplate, wrong), aCronJob("configured", "c-3", plainTemplate, wrong))
	v.list(ofCronJobs)
	v.put(aCronJob("later", "c-4", plainTemplate, wrong))
	for name, want := range map[string]int{"there": 6, "unknown": 1, "configured": 1, "later": 1} {
		if got := v.byName[name].definition.Parallel; got != want {
			t.Errorf("%s: %d at a time, want %d", name, got, want)
		}
	}
}

// Complaints that do not fit are in the log alone, and hold nothing up.
func TestComplaintsAreBounded(t *testing.T) {
	v := newViewed()
	for i := range cap(v.complaints) + 10 {
		v.put(aCronJob(fmt.Sprint("f-", i), fmt.Sprint("c-", i), plainTemplate, map[string]string{"sluice/Job": "perhaps"}))
	}
	if len(v.complaints) != cap(v.complaints) || !strings.Contains(v.logs.String(), "too much is wrong at once") {
		t.Errorf("%d are queued", len(v.complaints))
	}
}

func aDeployment(name, uid string, ready int32, seen int64) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid), Generation: 3},
		Status:     appsv1.DeploymentStatus{ReadyReplicas: ready, ObservedGeneration: seen},
	}
}

func aStatefulSet(name, uid string, ready int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid), Generation: 3},
		Status:     appsv1.StatefulSetStatus{ReadyReplicas: ready, ObservedGeneration: 3},
	}
}

// A workload counts with its ready replicas, as of its newest generation; of one and its successor both have to be ready.
func TestWorkloads(t *testing.T) {
	leaving := aDeployment("w", "d-1", 4, 3)
	leaving.DeletionTimestamp = ptr.To(second(9))
	v := newViewed()
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"it starts", func() { v.put(aDeployment("w", "d-1", 0, 3)) }, "Deployment/w 0 true"},
		{"it is ready", func() { v.put(aDeployment("w", "d-1", 2, 3)) }, "Deployment/w 2 true"},
		{"the same", func() { v.put(aDeployment("w", "d-1", 2, 3)) }, ""},
		{"it has changed", func() { v.put(aDeployment("w", "d-1", 2, 2)) }, "Deployment/w 2 false"},
		{"another one", func() { v.put(aStatefulSet("x", "s-2", 1)) }, "StatefulSet/x 1 true"},
		{"another kind of its name", func() { v.put(aStatefulSet("w", "s-1", 1)) }, "StatefulSet/w 1 true"},
		{"its successor", func() { v.put(aDeployment("w", "d-3", 1, 3)) }, "Deployment/w 1 false"},
		{"both are current", func() { v.put(aDeployment("w", "d-1", 4, 3)) }, "Deployment/w 1 true"},
		{"the other kind goes", func() { v.drop(aStatefulSet("w", "s-1", 1)) }, "StatefulSet/w gone"},
		{"one goes", func() { v.drop(aDeployment("w", "d-3", 1, 3)) }, "Deployment/w 4 true"},
		{"it is being deleted", func() { v.put(leaving) }, "Deployment/w gone"},
		{"it is gone", func() { v.drop(leaving) }, "Deployment/w gone"},
	} {
		step.do()
		var got []string
		for name, w := range v.take().workloads {
			if w == nil {
				got = append(got, name+" gone")
			} else {
				got = append(got, fmt.Sprint(name, " ", w.ready, " ", w.current))
			}
		}
		if strings.Join(got, " ") != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
	if len(v.workloads) != 1 || len(v.replicas) != 1 {
		t.Errorf("left: %v %v", v.workloads, v.replicas)
	}
}

// A Job is told with its pods whatever comes first, and one that is no run's never is.
func TestJobsAndPodsInAnyOrder(t *testing.T) {
	other := aJob("other", func(j *batchv1.Job) { delete(j.Labels, "sluice/run-id") })
	moved := aPod("p", "u", func(p *corev1.Pod) { p.OwnerReferences = nil })
	v := newViewed()
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"a pod", func() { v.put(aPod("p", "u", nil)) }, ""},
		{"its Job", func() { v.put(aJob("u", nil)) }, "u with [p]"},
		{"somebody else's Job", func() { v.put(other) }, ""},
		{"another pod", func() { v.put(aPod("q", "u", nil)) }, "u with [p q]"},
		{"one goes over to nobody", func() { v.put(moved) }, "u with [q]"},
		{"which goes", func() { v.drop(moved) }, ""},
		{"the labels are stripped", func() {
			v.put(aJob("u", func(j *batchv1.Job) { j.Labels = map[string]string{"app.kubernetes.io/managed-by": "sluice"} }))
		}, "u gone"},
		{"they are back", func() { v.put(aJob("u", nil)) }, "u with [q]"},
		{"it is gone", func() { v.drop(aJob("u", nil)) }, "u gone"},
		{"its pod goes", func() { v.drop(aPod("q", "u", nil)) }, ""},
	} {
		step.do()
		var got string
		for uid, o := range v.take().jobs {
			if got = uid + " gone"; o != nil {
				var names []string
				for _, p := range o.Pods {
					names = append(names, p.Name)
				}
				got = fmt.Sprint(uid, " with ", names)
			}
		}
		if got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
	if len(v.jobs)+len(v.pods)+len(v.owned) > 0 {
		t.Errorf("left: %v %v %v", v.jobs, v.pods, v.owned)
	}
}
