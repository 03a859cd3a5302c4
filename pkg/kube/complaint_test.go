package kube

import (
	"errors"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The names of Events are valid whatever the object's is, and no two sentences share one, nor does the same one about two generations.
func TestNamesOfEvents(t *testing.T) {
	seen := map[string]error{}
	c := &Client{service: tester, config: Config{Namespace: "n"}}
	for _, name := range []string{"f", "with.dots", strings.Repeat("a", 253), strings.Repeat("a", 199) + "-b", strings.Repeat("a", 199) + ".b"} {
		for _, said := range []Complaint{{Sentence: "one"}, {Sentence: "two"}, {Sentence: "two", Generation: "g1"}, {Sentence: "two", Generation: "g2"}} {
			said.APIVersion, said.Kind, said.Name, said.UID = "apps/v1", "Deployment", name, types.UID("uid of "+name)
			made := c.event(said).Name
			if len(made) > 253 || strings.Contains(made, "-.") || strings.Contains(made, "..") || seen[made] != nil {
				t.Errorf("%q", made)
			}
			seen[made] = errors.New("taken")
		}
	}
}

// A queue that is full takes no more.
func TestComplaintsAreBounded(t *testing.T) {
	queue := NewComplaints()
	for range MaxComplaints {
		if !queue.Add(Complaint{}) {
			t.Fatal("it is full too early")
		}
	}
	if queue.Add(Complaint{}) {
		t.Error("it has no bound")
	}
}

// Each sentence is one Event, whoever writes it; one that is refused is given up, and holds nothing up.
func TestComplaintsBecomeEvents(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	elsewhere := n.config("elsewhere")
	elsewhere.Namespace = "default"
	for _, config := range []Config{n.config("a"), elsewhere, n.config("b")} {
		client, queue := n.connect(config), NewComplaints()
		for _, name := range []string{"first", "second"} {
			queue.Add(Complaint{APIVersion: "v1", Kind: "ConfigMap", Name: name, UID: "u", Sentence: name + " is wrong"})
		}
		done := make(chan struct{})
		go func() { defer close(done); client.Complain(t.Context(), queue) }()
		t.Cleanup(func() { <-done })
		n.Eventually("the queue is empty", func() bool { return len(queue) == 0 })
	}
	n.Eventually("there are two Events, and two were refused", func() bool {
		list, err := n.Admin.CoreV1().Events(n.Name).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=InvalidAnnotation"})
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, e := range list.Items {
			said = append(said, e.InvolvedObject.Kind+" "+e.InvolvedObject.Name+": "+e.Message+" "+e.ReportingController)
		}
		slices.Sort(said)
		want := []string{"ConfigMap first: first is wrong sluice-tester", "ConfigMap second: second is wrong sluice-tester"}
		return slices.Equal(said, want) && len(n.Logs.With("an Event could not be written", "forbidden", `"client":"elsewhere"`)) == 2
	})
}
