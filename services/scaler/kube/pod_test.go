package kube

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/function"
)

func conditions(refused string) []appsv1.DeploymentCondition {
	all := []appsv1.DeploymentCondition{{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionFalse, Message: "not available"}}
	if refused != "" {
		all = append(all, appsv1.DeploymentCondition{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: refused})
	}
	return all
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// observePod is the pod as a replica of a function whose annotations are given.
func observePod(t *testing.T, p *corev1.Pod, annotations map[string]string) function.Pod {
	t.Helper()
	kept, controlled := readPod(p, ownPods)
	if !controlled {
		t.Fatal("it has no controller")
	}
	return kept.observe(&workload{isFunction: true, port: function.PortFromAnnotations(annotations, nil)}, minute(3).Time)
}

func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		name        string
		edit        func(p *corev1.Pod)
		annotations map[string]string
		want        function.Pod
	}{
		{name: "first port", want: function.Pod{Address: "10.0.0.1:8080", Ready: true}},
		{name: "IPv6", edit: func(p *corev1.Pod) { p.Status.PodIP = "FD00::0:12" }, want: function.Pod{Address: "[fd00::12]:8080", Ready: true}},
		{name: "another port by number", annotations: map[string]string{"sluice/Port": "9000"}, want: function.Pod{Address: "10.0.0.1:9000", Ready: true}},
		{name: "another port by name", annotations: map[string]string{"SlimFaas/Port": "port-1"}, edit: func(p *corev1.Pod) { p.Spec = template(8080, 9090).Spec }, want: function.Pod{Address: "10.0.0.1:9090", Ready: true}},
		{name: "a port of the second container", edit: func(p *corev1.Pod) {
			p.Spec.Containers = append(template().Spec.Containers, template(7000).Spec.Containers...)
		}, want: function.Pod{Address: "10.0.0.1:7000", Ready: true}},
		{name: "UDP is no port for calls", edit: func(p *corev1.Pod) {
			p.Spec = template(53, 8080).Spec
			p.Spec.Containers[0].Ports[0].Protocol = corev1.ProtocolUDP
		}, want: function.Pod{Address: "10.0.0.1:8080", Ready: true}},
		{name: "host network", edit: func(p *corev1.Pod) { p.Spec.HostNetwork = true; p.Status.HostIP = "10.0.0.1" }, want: function.Pod{Address: "10.0.0.1:8080", Ready: true}},
		{name: "no port", edit: func(p *corev1.Pod) { p.Spec = template().Spec }, want: function.Pod{Ready: true, Problem: withoutPort}},
		{name: "no address yet", edit: func(p *corev1.Pod) { p.Status.PodIP = ""; notReady(p) }, want: function.Pod{}},
		{name: "no address at all", edit: func(p *corev1.Pod) { p.Status.PodIP = "metadata.internal" }, want: function.Pod{Ready: true}},
		{name: "an address with a zone", edit: func(p *corev1.Pod) { p.Status.PodIP = "fe80::1%eth0/x" }, want: function.Pod{Ready: true}},
		{name: "not ready", edit: func(p *corev1.Pod) { notReady(p) }, want: function.Pod{Address: "10.0.0.1:8080"}},
		{name: "terminating", edit: func(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(minute(3)) }, want: function.Pod{Address: "10.0.0.1:8080"}},
		{name: "never ready", edit: func(p *corev1.Pod) { notReady(p).Status.Conditions[1].LastTransitionTime = minute(1) }, want: function.Pod{Address: "10.0.0.1:8080", Problem: neverReady}},
	} {
		p := onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1")
		if c.edit != nil {
			c.edit(p)
		}
		c.want.Name = p.Name
		if got := observePod(t, p, c.annotations); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// An evicted pod stays as an object; its controller has replaced it.
func TestFinishedPodsAreNoReplicas(t *testing.T) {
	v := newViewed()
	evicted := notReady(onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1"))
	evicted.Status.Phase = corev1.PodFailed
	v.put(deployment("f", "d-1", 1, isFunction()), replicaSet("f-1", "rs-1", "d-1"), evicted, onePod("f-1-b", "ReplicaSet", "rs-1", "10.0.0.2"))
	if w := v.at(t, "f", 5); len(w.Pods) != 1 || w.Pods[0].Name != "f-1-b" {
		t.Errorf("replicas are %+v", w.Pods)
	}
}

// A pod that runs and never gets ready becomes a problem by time alone.
func TestSlowPodIsLookedAtAgain(t *testing.T) {
	v := newViewed()
	v.put(deployment("f", "d-1", 1, isFunction()), replicaSet("f-1", "rs-1", "d-1"), notReady(onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1")))
	o, _ := v.observe("f", minute(3).Time)
	if o.workload.Pods[0].Problem != "" || o.again <= 0 || o.again > slowStart+1 {
		t.Errorf("at first: %+v, to look again after %v", o.workload.Pods, o.again)
	}
	o, _ = v.observe("f", minute(3).Add(o.again))
	if o.workload.Pods[0].Problem != neverReady || o.again != 0 {
		t.Errorf("then: %+v, to look again after %v", o.workload.Pods, o.again)
	}
}

// What is wrong with the port shows while there is no pod, too.
func TestPortProblemsOfTheWorkload(t *testing.T) {
	v := newViewed()
	d := deployment("f", "d-1", 0, isFunction("sluice/Port", "grpc"))
	v.put(d)
	if w := v.at(t, "f", 5); len(w.Problems) != 1 {
		t.Errorf("problems are %q", w.Problems)
	}
	d = deployment("f", "d-1", 0, isFunction())
	d.Spec.Template = template()
	v.put(d)
	if w := v.at(t, "f", 5); len(w.Problems) != 1 || w.Problems[0] != withoutPort {
		t.Errorf("problems are %q", w.Problems)
	}
}
