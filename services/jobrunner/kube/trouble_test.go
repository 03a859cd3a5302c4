package kube

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// event says something about the object of the kind with the UID, as in "Job/u FailedCreate".
func event(uid, what string, at int, message string) *corev1.Event {
	about, reason, _ := strings.Cut(what, " ")
	kind, of, _ := strings.Cut(about, "/")
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: uid, UID: types.UID(uid)}, Reason: reason, Message: message,
		InvolvedObject: corev1.ObjectReference{Kind: kind, UID: types.UID(of)}, LastTimestamp: second(at),
	}
}

func container(state corev1.ContainerState) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: state}}
	}
}

// Why a Job has no running pod, in one word and in Kubernetes' own ones.
func TestTroubles(t *testing.T) {
	refused := func(at int, message string) *corev1.Event {
		return event("e-1", "Job/u FailedCreate", at, message)
	}
	const (
		quota     = `Error creating: pods "x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1`
		security  = `Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false`
		account   = `Error creating: pods "x-" is forbidden: error looking up service account ns/robot: serviceaccount "robot" not found`
		limits    = `Error creating: pods "x" is forbidden: minimum cpu usage per Container is 1`
		hook      = `Error creating: Internal error occurred: failed calling webhook "x"`
		unmounted = `MountVolume.SetUp failed for volume "config": configmap "settings" not found`
	)
	for _, c := range []struct {
		name           string
		job            func(*batchv1.Job)
		pods           []*corev1.Pod
		events         []*corev1.Event
		reason, detail string
	}{
		{name: "none yet"},
		{name: "quota", events: []*corev1.Event{refused(5, quota)}, reason: "PodQuotaExceeded", detail: quota},
		{name: "Pod Security", events: []*corev1.Event{refused(5, security)}, reason: "PodsForbidden", detail: security},
		{name: "service account", events: []*corev1.Event{refused(5, account)}, reason: "ServiceAccountNotFound", detail: account},
		{name: "a limit range", events: []*corev1.Event{refused(5, limits)}, reason: "PodsForbidden", detail: limits},
		{name: "a webhook that does not answer", events: []*corev1.Event{refused(5, hook)}, reason: "FailedCreate", detail: hook},
		{name: "the latest counts", events: []*corev1.Event{event("e-2", "Job/u FailedCreate", 9, quota), refused(5, security)}, reason: "PodQuotaExceeded", detail: quota},
		{name: "another reason", events: []*corev1.Event{event("e-1", "Job/u SuccessfulDelete", 5, "x")}},
		{name: "of another Job", events: []*corev1.Event{event("e-1", "Job/v FailedCreate", 5, quota)}},
		{name: "before it was resumed", events: []*corev1.Event{refused(0, quota)}},
		{name: "while it is suspended", job: func(j *batchv1.Job) { j.Spec.Suspend, j.Status.StartTime = ptr.To(true), nil }, events: []*corev1.Event{refused(5, quota)}},
		{name: "after its end", job: condition(batchv1.JobFailed, "DeadlineExceeded", ""), events: []*corev1.Event{refused(5, quota)}},
		{name: "while it is deleted", job: func(j *batchv1.Job) { j.DeletionTimestamp = ptr.To(second(6)) }, events: []*corev1.Event{refused(5, quota)}},
		{name: "a pod came later", pods: []*corev1.Pod{aPod("p", "u", func(p *corev1.Pod) {
			p.CreationTimestamp = second(6)
			p.Status.Phase = corev1.PodRunning
		})}, events: []*corev1.Event{refused(5, quota)}},
		{name: "no further pod", pods: []*corev1.Pod{aPod("p", "u", func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning })}, events: []*corev1.Event{refused(5, quota)},
			reason: "PodQuotaExceeded", detail: quota},
		{name: "not scheduled", pods: []*corev1.Pod{aPod("p", "u", func(p *corev1.Pod) {
			p.Spec.NodeName = ""
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available"}}
		})}, reason: "Unschedulable", detail: "0/1 nodes are available"},
		{name: "about to be scheduled", pods: []*corev1.Pod{aPod("p", "u", func(p *corev1.Pod) { p.Spec.NodeName = "" })}},
		{name: "about to start", pods: []*corev1.Pod{aPod("p", "u", nil)}, reason: "ContainerCreating"},
		{name: "the container is made", pods: []*corev1.Pod{aPod("p", "u", container(waits("ContainerCreating", "")))}, reason: "ContainerCreating"},
		{name: "a volume that cannot be mounted", pods: []*corev1.Pod{aPod("p", "u", container(waits("ContainerCreating", "")))},
			events: []*corev1.Event{event("e-1", "Pod/uid-p FailedMount", 5, unmounted)}, reason: "ContainerCreating", detail: unmounted},
		{name: "a warning that says nothing about that", pods: []*corev1.Pod{aPod("p", "u", nil)}, events: []*corev1.Event{event("e-1", "Pod/uid-p Unhealthy", 5, "x")}, reason: "ContainerCreating"},
		{name: "no such image", pods: []*corev1.Pod{aPod("p", "u", container(waits("ImagePullBackOff", `Back-off pulling image "nope"`)))},
			reason: "ImagePullBackOff", detail: `container main: Back-off pulling image "nope"`},
		{name: "no image at all", pods: []*corev1.Pod{aPod("p", "u", container(waits("InvalidImageName", "")))}, reason: "InvalidImageName", detail: "container main:"},
		{name: "no Secret", pods: []*corev1.Pod{aPod("p", "u", container(waits("CreateContainerConfigError", `couldn't find key password in Secret n/db`)))},
			reason: "CreateContainerConfigError", detail: "container main: couldn't find key password in Secret n/db"},
		{name: "of an init container", pods: []*corev1.Pod{aPod("p", "u", func(p *corev1.Pod) {
			container(waits("PodInitializing", ""))(p)
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", State: waits("ErrImagePull", "not found")}}
		})}, reason: "ErrImagePull", detail: "container init: not found"},
		{name: "it runs", pods: []*corev1.Pod{aPod("p", "u", func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning; container(runs(5))(p) })}},
		{name: "it ends again and again", pods: []*corev1.Pod{aPod("p", "u", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodRunning
			container(waits("CrashLoopBackOff", "back-off 10s"))(p)
		})}, reason: "CrashLoopBackOff", detail: "container main: back-off 10s"},
		{name: "a pod that is deleted", pods: []*corev1.Pod{aPod("p", "u", func(p *corev1.Pod) {
			container(waits("ImagePullBackOff", ""))(p)
			p.DeletionTimestamp = ptr.To(second(9))
		})}},
		{name: "a pod that has ended", pods: []*corev1.Pod{aPod("p", "u", func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodFailed
			container(waits("ImagePullBackOff", ""))(p)
		})}},
		{name: "the worse of two", pods: []*corev1.Pod{
			aPod("p", "u", container(waits("ErrImagePull", "x"))),
			aPod("q", "u", func(p *corev1.Pod) { p.CreationTimestamp = second(9) }),
		}, reason: "ErrImagePull", detail: "container main: x"},
	} {
		v := newViewed()
		v.put(aJob("u", c.job))
		for _, p := range c.pods {
			v.put(p)
		}
		for _, e := range c.events {
			v.put(e)
		}
		o := v.object("u")
		if o.Trouble != c.reason || o.TroubleDetail != c.detail {
			t.Errorf("%s: %q, %q", c.name, o.Trouble, o.TroubleDetail)
		}
		if c.name == "no Secret" && (o.Pods[0].Reason != c.reason || o.Pods[0].Message != c.detail) {
			t.Errorf("%s: the pod says %+v", c.name, o.Pods[0])
		}
	}
}

// What an Event says holds as long as Kubernetes keeps it, and the Job is told of again.
func TestEventsMarkTheirJobs(t *testing.T) {
	v := newViewed()
	v.put(aJob("u", nil), aPod("p", "u", nil), aJob("other", nil))
	v.take()
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"about the Job", func() { v.put(event("e-1", "Job/u FailedCreate", 5, "no")) }, "ContainerCreating"},
		{"about its pod", func() { v.put(event("e-2", "Pod/uid-p FailedMount", 5, "not there")) }, "ContainerCreating: not there"},
		{"later", func() { v.put(event("e-3", "Pod/uid-p FailedMount", 7, "still not there")) }, "ContainerCreating: still not there"},
		{"the earlier one goes", func() { v.drop(event("e-2", "", 0, "")) }, ""},
		{"the later one goes", func() { v.drop(event("e-3", "", 0, "")) }, "ContainerCreating"},
		{"it counts", func() {
			again := event("e-1", "Job/u FailedCreate", 5, "no again")
			again.Series = &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(second(9).Time)}
			v.put(again)
		}, "ContainerCreating"},
		{"the pod goes", func() { v.drop(aPod("p", "u", nil)) }, "FailedCreate: no again"},
		{"of the new kind", func() {
			e := event("e-4", "Job/u FailedCreate", 0, "no more")
			e.LastTimestamp, e.EventTime = metav1.Time{}, metav1.NewMicroTime(second(30).Time)
			v.put(e)
		}, "FailedCreate: no more"},
		{"about nobody", func() { v.put(event("e-5", "Job/x FailedCreate", 5, "no")) }, ""},
		{"all go", func() {
			v.drop(event("e-4", "", 0, ""), event("e-5", "", 0, ""), event("e-1", "", 0, ""))
		}, " "},
	} {
		step.do()
		var got string
		for uid, o := range v.take().jobs {
			if uid != "u" {
				t.Errorf("%s: %s is marked", step.name, uid)
			}
			got = o.Trouble + " " + o.TroubleDetail
			if o.TroubleDetail != "" {
				got = o.Trouble + ": " + o.TroubleDetail
			} else if o.Trouble != "" {
				got = o.Trouble
			}
		}
		if got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
	if len(v.failures)+len(v.about) > 0 {
		t.Errorf("left: %v %v", v.failures, v.about)
	}
}
