package kube

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/function"
)

// inside is who the view says is inside: address, kind/name/replica, in order.
func (v viewed) inside(t *testing.T) string {
	t.Helper()
	v.mu.Lock()
	v.insideStale = true
	v.mu.Unlock()
	inside, _ := v.takeInside()
	return sayInside(inside)
}

func sayInside(inside map[netip.Addr]function.Insider) string {
	var lines []string
	for address, who := range inside {
		lines = append(lines, fmt.Sprintf("%s=%s/%s/%s", address, who.Kind, who.Name, who.Replica))
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// ourPod is one of Sluice itself.
func ourPod(name, component, ip string) *corev1.Pod {
	p := onePod(name, "ReplicaSet", "rs-sluice", ip)
	p.Labels = map[string]string{"app.kubernetes.io/part-of": "sluice", "app.kubernetes.io/component": component}
	return p
}

// jobPod is one of a run; edit may change it.
func jobPod(edit func(*corev1.Pod)) *corev1.Pod {
	p := onePod("fibonacci-x-1-abc", "Job", "j-1", "10.0.0.1")
	p.OwnerReferences[1].APIVersion = "batch/v1"
	p.Labels = map[string]string{"app.kubernetes.io/managed-by": "sluice", "sluice/run-id": "a", "sluice/definition": "fibonacci", "sluice/attempt": "1"}
	if edit != nil {
		edit(p)
	}
	return p
}

// Which pods are inside, with which addresses.
func TestWhoIsInside(t *testing.T) {
	edited := func(edit func(*corev1.Pod)) *corev1.Pod {
		p := onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1")
		edit(p)
		return p
	}
	const f = "10.0.0.1=function/f/f-1-a"
	for _, c := range []struct {
		name string
		pod  *corev1.Pod
		want string
	}{
		{"a function's", edited(func(*corev1.Pod) {}), f},
		{"not ready yet", edited(func(p *corev1.Pod) { notReady(p) }), f},
		{"not running yet", edited(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }), f},
		{"being deleted", edited(func(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(minute(4)) }), f},
		{"no address yet", edited(func(p *corev1.Pod) { p.Status.PodIP = "" }), ""},
		{"ended well", edited(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), ""},
		{"failed", edited(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), ""},
		{"in its node's network", edited(func(p *corev1.Pod) { p.Spec.HostNetwork = true }), ""},
		{"with its node's address", edited(func(p *corev1.Pod) { p.Status.HostIP = "10.0.0.1" }), ""},
		{"with a second address of its node", edited(func(p *corev1.Pod) { p.Status.HostIPs = []corev1.HostIP{{IP: "10.9.0.1"}, {IP: "::ffff:10.0.0.1"}} }), ""},
		{"two addresses", edited(func(p *corev1.Pod) { p.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "FD00::0:12"}} }), f + " fd00::12=function/f/f-1-a"},
		{"as IPv6 says IPv4", edited(func(p *corev1.Pod) { p.Status.PodIP = "::ffff:10.0.0.1" }), f},
		{"no address at all", edited(func(p *corev1.Pod) { p.Status.PodIP = "metadata.internal" }), ""},
		{"an address with a zone", edited(func(p *corev1.Pod) { p.Status.PodIP = "fe80::1%eth0" }), ""},
		{"of an untrusted function", onePod("u-1-a", "StatefulSet", "s-1", "10.0.0.1"), ""},
		{"of no function", onePod("p-1-a", "StatefulSet", "s-2", "10.0.0.1"), ""},
		{"of the younger workload of a name", onePod("f-0", "StatefulSet", "s-3", "10.0.0.1"), ""},
		{"of nobody known", onePod("x-0", "StatefulSet", "s-9", "10.0.0.1"), ""},
		{"without controller", edited(func(p *corev1.Pod) { p.OwnerReferences = nil }), ""},
		{"of a Job", edited(func(p *corev1.Pod) { p.OwnerReferences[1].APIVersion, p.OwnerReferences[1].Kind = "batch/v1", "Job" }), ""},
		{"of a run", jobPod(nil), "10.0.0.1=job/fibonacci/fibonacci-x-1-abc"},
		{"of a run, ended", jobPod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), ""},
		{"of a run, in its node's network", jobPod(func(p *corev1.Pod) { p.Spec.HostNetwork = true }), ""},
		{"of a Job that nobody of us has made", jobPod(func(p *corev1.Pod) { p.Labels["app.kubernetes.io/managed-by"] = "helm" }), ""},
		{"of a Job of ours without a run", jobPod(func(p *corev1.Pod) { delete(p.Labels, "sluice/run-id") }), ""},
		{"of a run without a definition", jobPod(func(p *corev1.Pod) { delete(p.Labels, "sluice/definition") }), ""},
		{"with the labels of a run alone", jobPod(func(p *corev1.Pod) { p.OwnerReferences = nil }), ""},
		{"of a run's Job, which does not control it", jobPod(func(p *corev1.Pod) { p.OwnerReferences[1].Controller = nil }), ""},
		{"with the labels of a run, of somebody's Job", jobPod(func(p *corev1.Pod) { p.OwnerReferences[1].APIVersion = "example.com/batch/v1" }), ""},
		{"with the labels of a function's alone", edited(func(p *corev1.Pod) { p.OwnerReferences, p.Labels = nil, map[string]string{"app": "f"} }), ""},
		{"ours", ourPod("sluice-gateway-1-a", "gateway", "10.0.0.1"), "10.0.0.1=sluice/gateway/sluice-gateway-1-a"},
		{"ours in its node's network", func() *corev1.Pod { p := ourPod("g", "gateway", "10.0.0.1"); p.Spec.HostNetwork = true; return p }(), ""},
		{"ours without controller", func() *corev1.Pod { p := ourPod("g", "scaler", "10.0.0.1"); p.OwnerReferences = nil; return p }(), "10.0.0.1=sluice/scaler/g"},
		{"ours without a name", ourPod("g", "", "10.0.0.1"), "10.0.0.1=sluice/g/g"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newViewed()
			v.put(deployment("f", "d-1", 1, isFunction()), replicaSet("f-1", "rs-1", "d-1"), statefulSet("f", "s-3", 1, isFunction()),
				statefulSet("u", "s-1", 1, isFunction("sluice/DefaultTrust", "Untrusted")), statefulSet("p", "s-2", 1, nil), c.pod)
			if got := v.inside(t); got != c.want {
				t.Errorf("inside is %q, want %q", got, c.want)
			}
			v.drop(c.pod)
			if got := v.inside(t); got != "" || len(v.pods) > 0 || len(v.owned) != 1 {
				t.Errorf("after it has gone: %q, %d pods, %v", got, len(v.pods), v.owned)
			}
		})
	}
}

// An address belongs to the youngest pod that has it, whatever is still known of the one before.
func TestAddressOfAPodThatHasEndedIsTheNextOnes(t *testing.T) {
	v := newViewed()
	v.put(statefulSet("f", "s-1", 1, isFunction()), statefulSet("u", "s-2", 1, isFunction("sluice/DefaultTrust", "Untrusted")))
	ending, next := onePod("f-0", "StatefulSet", "s-1", "10.0.0.1"), onePod("u-0", "StatefulSet", "s-2", "10.0.0.1")
	ending.DeletionTimestamp, next.CreationTimestamp = ptr.To(minute(4)), minute(5)
	v.put(next, ending)
	if got := v.inside(t); got != "" {
		t.Errorf("inside is %q", got)
	}
	next.CreationTimestamp = minute(1)
	v.put(next)
	if got := v.inside(t); got != "10.0.0.1=function/f/f-0" {
		t.Errorf("inside is %q", got)
	}
}

// Nothing that may change who is inside is overlooked, in whatever order it comes; what does not is no reason to look.
func TestChangesOfWhoIsInsideAreSeen(t *testing.T) {
	const f, g = "10.0.0.1=function/f/f-1-a", "10.0.0.1=function/g/f-1-a"
	p := func(edit func(*corev1.Pod)) *corev1.Pod {
		made := onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1")
		edit(made)
		return made
	}
	same := func(*corev1.Pod) {}
	v := newViewed()
	for _, step := range []struct {
		name  string
		do    func()
		stale bool
		want  string
	}{
		{"the first look", func() {}, true, ""},
		{"a pod", func() { v.put(p(same)) }, true, ""},
		{"its ReplicaSet", func() { v.put(replicaSet("f-1", "rs-1", "d-1")) }, true, ""},
		{"its Deployment", func() { v.put(deployment("f", "d-1", 1, isFunction())) }, true, f},
		{"another count", func() { v.put(deployment("f", "d-1", 2, isFunction())) }, false, f},
		{"not ready", func() { v.put(notReady(p(same))) }, false, f},
		{"another address", func() { v.put(p(func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.2" })) }, true, "10.0.0.2=function/f/f-1-a"},
		{"it has ended", func() { v.put(p(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })) }, true, ""},
		{"it runs", func() { v.put(p(same)) }, true, f},
		{"no function", func() { v.put(deployment("f", "d-1", 1, nil)) }, true, ""},
		{"a function", func() { v.put(deployment("f", "d-1", 1, isFunction())) }, true, f},
		{"untrusted", func() { v.put(deployment("f", "d-1", 1, isFunction("sluice/DefaultTrust", "Untrusted"))) }, true, ""},
		{"trusted", func() { v.put(deployment("f", "d-1", 1, isFunction())) }, true, f},
		{"another function", func() { v.put(deployment("g", "d-2", 1, isFunction())) }, true, f},
		{"the ReplicaSet goes over to it", func() { v.put(replicaSet("f-1", "rs-1", "d-2")) }, true, g},
		{"the ReplicaSet is gone", func() { v.drop(replicaSet("f-1", "rs-1", "d-2")) }, true, ""},
		{"the ReplicaSet is back", func() { v.put(replicaSet("f-1", "rs-1", "d-1")) }, true, f},
		{"an older workload of the name", func() {
			older := statefulSet("f", "s-1", 1, isFunction())
			older.CreationTimestamp = minute(-1)
			v.put(older)
		}, true, ""},
		{"that goes", func() { v.drop(statefulSet("f", "s-1", 1, nil)) }, true, f},
		{"the Deployment goes", func() { v.drop(deployment("f", "d-1", 1, nil)) }, true, ""},
		{"a pod of a run", func() { v.put(jobPod(nil)) }, true, "10.0.0.1=job/fibonacci/fibonacci-x-1-abc"},
		{"of another definition", func() { v.put(jobPod(func(p *corev1.Pod) { p.Labels["sluice/definition"] = "other" })) }, true, "10.0.0.1=job/other/fibonacci-x-1-abc"},
		{"which is gone", func() { v.drop(jobPod(nil)) }, true, ""},
		{"a workload that is none", func() { v.put(deployment("p", "d-9", 1, nil)) }, false, ""},
		{"and goes", func() { v.drop(deployment("p", "d-9", 1, nil)) }, false, ""},
	} {
		step.do()
		inside, stale := v.takeInside()
		if stale != step.stale || stale && sayInside(inside) != step.want {
			t.Errorf("%s: looked at: %v, %q; want %v, %q", step.name, stale, sayInside(inside), step.stale, step.want)
		}
	}
}

// The observer is told once for all, at first even that nobody is inside, and then of each change, but a burst of them is few reports.
func TestInsideIsReported(t *testing.T) {
	t.Parallel()
	v, w := reporting(t)
	v.put(statefulSet("f", "s-1", 1, isFunction()))
	v.list(allKinds...)
	w.WaitSynced(t, patience)
	if heard := w.all(); !slices.Equal(heard, []string{"inside", "observe f", "synced"}) {
		t.Errorf("it has heard %v", heard)
	}
	began := time.Now()
	for i := range 200 { // a burst
		v.put(onePod(fmt.Sprint("f-", i), "StatefulSet", "s-1", fmt.Sprint("10.0.0.", i)))
		if i%10 == 0 {
			<-time.After(10 * time.Millisecond)
		}
	}
	all := w.WaitInside(t, patience, func(inside map[netip.Addr]function.Insider) bool { return len(inside) == 200 })
	reports, most := 0, int(time.Since(began)/gather)+2
	for _, heard := range w.all() {
		if heard == "inside" {
			reports++
		}
	}
	if reports > most || all[netip.MustParseAddr("10.0.0.7")] != (function.Insider{Kind: "function", Name: "f", Replica: "f-7"}) {
		t.Errorf("%d reports, at most %d; %v", reports, most, all)
	}
	p := onePod("f-7", "StatefulSet", "s-1", "10.0.0.7")
	v.drop(p)
	v.put(p)
	last := onePod("f-last", "StatefulSet", "s-1", "10.0.1.1")
	v.put(last)
	w.WaitInside(t, patience, func(inside map[netip.Addr]function.Insider) bool { return len(inside) == 201 })
}

// runJob makes a Job of a run as the jobrunner does.
func (n *namespace) runJob(definition string) {
	n.T.Helper()
	pods := template(8080)
	pods.Labels = map[string]string{"app.kubernetes.io/managed-by": "sluice", "sluice/run-id": "a", "sluice/definition": definition, "sluice/attempt": "1"}
	pods.Spec.RestartPolicy = corev1.RestartPolicyNever
	made := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: definition}, Spec: batchv1.JobSpec{Template: pods}}
	if _, err := n.Admin.BatchV1().Jobs(n.Name).Create(n.T.Context(), made, metav1.CreateOptions{}); err != nil {
		n.T.Fatal(err)
	}
}

// On a real API server: pods of functions and our own, until they are gone.
func TestInsideOfACluster(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	config := n.config("test")
	config.InsideSelector = "app.kubernetes.io/part-of=sluice,app.kubernetes.io/instance=mine"
	w := newWitness()
	watchWith(t, newCluster(n.connect(config)), w)
	label := func(instance string) func(*corev1.PodTemplateSpec) {
		return func(pods *corev1.PodTemplateSpec) {
			maps.Copy(pods.Labels, map[string]string{
				"app.kubernetes.io/part-of": "sluice", "app.kubernetes.io/instance": instance, "app.kubernetes.io/component": "gateway",
			})
		}
	}
	n.deploy("f", 1, nil)
	n.deployWith(nil, "ours", 1, label("mine"))
	n.deployWith(nil, "others", 1, label("theirs"))
	n.deployWith(nil, "plain", 1, nil)
	n.runJob("fibonacci")
	who := func(inside map[netip.Addr]function.Insider) string {
		var names []string
		for _, insider := range inside {
			names = append(names, insider.Kind+"/"+insider.Name)
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	is := func(want string) func(map[netip.Addr]function.Insider) bool {
		return func(inside map[netip.Addr]function.Insider) bool { return who(inside) == want }
	}
	inside := w.WaitInside(t, patience, is("function/f job/fibonacci sluice/gateway"))
	w.Wait(t, "f", patience, func(w function.Workload) bool {
		return len(w.ReadyEndpoints()) == 1 && inside[netip.MustParseAddrPort(w.Pods[0].Address).Addr()].Replica == w.Pods[0].Name
	})
	n.annotate("f", map[string]any{"sluice/DefaultTrust": "Untrusted"})
	w.WaitInside(t, patience, is("job/fibonacci sluice/gateway"))
	n.annotate("f", map[string]any{"sluice/DefaultTrust": nil})
	w.WaitInside(t, patience, is("function/f job/fibonacci sluice/gateway"))
	n.somebodySets("f", 0)
	n.somebodySets("ours", 0)
	w.WaitInside(t, patience, is("job/fibonacci"))
	if err := n.Admin.BatchV1().Jobs(n.Name).Delete(t.Context(), "fibonacci", metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationForeground)}); err != nil {
		t.Fatal(err)
	}
	w.WaitInside(t, patience, is(""))
}
