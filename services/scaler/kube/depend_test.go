package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/function"
)

// dependent is a function that depends on the named workloads.
func dependent(name, uid, on string) *appsv1.Deployment {
	return deployment(name, uid, 1, isFunction("sluice/DependsOn", on))
}

// A workload without annotation is known while a function depends on it, and only then.
func TestDependenciesAreWatched(t *testing.T) {
	mysql, ready := statefulSet("mysql", "s-1", 1, nil), onePod("mysql-0", "StatefulSet", "s-1", "10.0.0.9")
	ready.Spec = template().Spec // it is never called
	unready := notReady(ready.DeepCopy())
	leaving := mysql.DeepCopy()
	leaving.DeletionTimestamp = ptr.To(minute(4))
	v := newViewed()
	for _, step := range []struct {
		name    string
		do      func()
		touched string
		want    string
	}{
		{"nobody names it", func() { v.put(mysql, unready) }, "", ""},
		{"a function does", func() { v.put(dependent("f", "d-1", "mysql,other")) }, "f mysql other", "1 replicas, 0 ready"},
		{"its pod changes", func() { v.put(ready) }, "mysql", "1 replicas, 1 ready"},
		{"it changes", func() { v.put(statefulSet("mysql", "s-1", 3, nil)) }, "mysql", "3 replicas, 1 ready"},
		{"another one names it too", func() { v.put(dependent("g", "d-2", "mysql")) }, "g", "3 replicas, 1 ready"},
		{"the first one does not any more", func() { v.put(dependent("f", "d-1", "other")) }, "f other", "3 replicas, 1 ready"},
		{"the other one is gone", func() { v.drop(dependent("g", "d-2", "mysql")) }, "g mysql", ""},
		{"its pod changes again", func() { v.put(unready) }, "", ""},
		{"it is named again", func() { v.put(dependent("g", "d-3", "mysql")) }, "g mysql", "3 replicas, 0 ready"},
		{"it is being deleted", func() { v.put(leaving) }, "mysql", ""},
		{"it is gone", func() { v.drop(leaving) }, "", ""},
		{"there is another one", func() { v.put(deployment("mysql", "d-4", 2, nil)) }, "mysql", "2 replicas, 0 ready"},
	} {
		step.do()
		// A function that is put anew takes back what it depends on first: whoever looks once more than needed sees the same.
		if touched := v.takeStale(); !containsAll(touched, strings.Fields(step.touched)) || step.touched == "" && len(touched) > 0 {
			t.Errorf("%s: %q is marked, want %q", step.name, touched, step.touched)
		}
		o, exists := v.observe("mysql", minute(5).Time)
		if got := describe(o.workload); exists != (step.want != "") || exists && got != step.want {
			t.Errorf("%s: it is there: %v, with %s, want %q", step.name, exists, got, step.want)
		}
	}
	for _, w := range []*appsv1.Deployment{dependent("f", "d-1", ""), dependent("g", "d-3", "")} {
		v.drop(w)
	}
	if len(v.needed) != 0 {
		t.Errorf("still needed: %v", v.needed)
	}
}

func containsAll(all, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(name string) bool { return !slices.Contains(all, name) })
}

func describe(w function.Workload) string {
	if !w.Watched || w.Function.Name != "mysql" || w.Function.Kind == "" || len(w.Problems) > 0 || w.Function.DefaultVisibility != "" {
		return "wrong"
	}
	ready := 0
	for _, p := range w.Pods {
		if p.Ready && p.Problem == "" {
			ready++
		}
	}
	return fmt.Sprintf("%d replicas, %d ready", w.Replicas, ready)
}

// A function wins over a workload of its name that is none, however old that is, and over nothing when it goes.
func TestFunctionWinsOverDependencyOfItsName(t *testing.T) {
	v := newViewed()
	v.put(dependent("f", "d-1", "db"), statefulSet("db", "s-1", 2, nil))
	younger := deployment("db", "d-2", 4, isFunction())
	younger.CreationTimestamp = minute(9)
	v.put(younger)
	if w := v.at(t, "db", 10); w.Watched || w.Replicas != 4 || len(w.Problems) > 0 {
		t.Errorf("observed %+v", w)
	}
	v.drop(younger)
	if w := v.at(t, "db", 10); !w.Watched || w.Replicas != 2 {
		t.Errorf("after it has gone: %+v", w)
	}
}

// The observer forgets what it knew of a name before that is something else; what is watched cannot be scaled.
func TestDependencyIsReportedAndForgotten(t *testing.T) {
	t.Parallel()
	v, w, c := reportingOn(t)
	v.put(deployment("db", "d-1", 1, nil), deployment("f", "d-2", 1, isFunction()))
	v.list(allKinds...)
	w.WaitSynced(t, patience)
	watched := func(is bool) func(function.Workload) bool {
		return func(w function.Workload) bool { return w.Watched == is }
	}
	v.put(dependent("f", "d-2", "db"))
	w.Wait(t, "db", patience, watched(true))
	if err := c.SetReplicas(t.Context(), "db", 3, nil); !errors.Is(err, ErrUnknownFunction) {
		t.Errorf("it may be scaled: %v", err)
	}
	v.put(deployment("db", "d-1", 1, isFunction()))
	w.Wait(t, "db", patience, watched(false))
	v.put(deployment("db", "d-1", 1, nil))
	w.Wait(t, "db", patience, watched(true))
	v.put(deployment("f", "d-2", 1, isFunction()))
	w.waitHeard(t, "forget db", 3)
	want := []string{"observe db", "forget db", "observe db", "forget db", "observe db", "forget db"}
	heard := slices.DeleteFunc(w.all(), func(what string) bool { return !strings.HasSuffix(what, " db") })
	if !slices.Equal(heard, want) {
		t.Errorf("it has heard %v", heard)
	}
}
