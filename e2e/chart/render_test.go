package chart

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// object is one that the chart renders.
type object struct {
	metav1.Object
	kind string
	// typed is the object as its Go type; raw as it was rendered, in YAML.
	typed runtime.Object
	raw   []byte
}

func (o object) String() string { return o.kind + "/" + o.GetName() }

// component is what the object belongs to, such as gateway.
func (o object) component() string { return o.GetLabels()["app.kubernetes.io/component"] }

// render returns what the chart makes of the values.
func render(t *testing.T, args ...string) []object {
	t.Helper()
	text, err := template(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// decode reads YAML documents strictly: no field that Kubernetes does not know, none twice.
func decode(text []byte) ([]object, error) {
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	var objects []object
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("split the documents: %w", err)
		}
		if empty(document) {
			continue
		}
		typed, kind, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("read a document: %w\n%s", err, document)
		}
		named, isNamed := typed.(metav1.Object)
		if !isNamed {
			return nil, fmt.Errorf("a %s has no name", kind.Kind)
		}
		objects = append(objects, object{Object: named, kind: kind.Kind, typed: typed, raw: document})
	}
}

// empty says whether a document has comments alone.
func empty(document []byte) bool {
	for line := range strings.Lines(string(document)) {
		if line = strings.TrimSpace(line); line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

// find returns the object, such as Deployment/sluice-gateway.
func find(t *testing.T, objects []object, name string) object {
	t.Helper()
	for _, o := range objects {
		if o.String() == name {
			return o
		}
	}
	t.Fatalf("there is no %s", name)
	return object{}
}

// withoutPods are the kinds that make no pods. One that is neither here nor in asWorkload fails the tests until somebody has looked.
var withoutPods = []string{
	"ConfigMap", "Lease", "PodDisruptionBudget", "Role", "RoleBinding", "Secret", "Service", "ServiceAccount",
}

// workload is an object that makes pods.
type workload struct {
	object
	// selector is nil for a Job, whose controller makes one.
	selector *metav1.LabelSelector
	template corev1.PodTemplateSpec
}

// asWorkload returns nil for what makes no pods.
func (o object) asWorkload() *workload {
	switch typed := o.typed.(type) {
	case *appsv1.Deployment:
		return &workload{o, typed.Spec.Selector, typed.Spec.Template}
	case *appsv1.StatefulSet:
		return &workload{o, typed.Spec.Selector, typed.Spec.Template}
	case *batchv1.Job:
		return &workload{o, nil, typed.Spec.Template}
	}
	return nil
}

// workloads returns those among the objects.
func workloads(t *testing.T, objects []object) []workload {
	t.Helper()
	var found []workload
	for _, o := range objects {
		if w := o.asWorkload(); w != nil {
			found = append(found, *w)
		} else if !slices.Contains(withoutPods, o.kind) {
			t.Fatalf("%s: say in render_test.go whether this kind has pods", o)
		}
	}
	if len(found) < 3 {
		t.Fatalf("only %d workloads were found: %v", len(found), objects)
	}
	return found
}

// argument returns the value of a flag of the container, and whether it is there.
func argument(container corev1.Container, flag string) (string, bool) {
	for _, arg := range container.Args {
		if value, found := strings.CutPrefix(arg, flag+"="); found {
			return value, true
		}
	}
	return "", false
}
