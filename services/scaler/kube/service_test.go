package kube

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/sluicefaas/sluice/pkg/function"
)

// service has one port, whose pods are selected by the label app.
func service(name, app, protocol string, target intstr.IntOrString) *corev1.Service {
	port := corev1.ServicePort{Port: 80, TargetPort: target}
	if protocol != "" {
		port.AppProtocol = ptr.To(protocol)
	}
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name)},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{port}},
	}
}

// labelled is a function whose pods have the label app and two ports, port-0 and port-1.
func labelled(name string, annotations map[string]string) *appsv1.Deployment {
	d := deployment(name, "d-"+name, 1, annotations)
	d.Spec.Template = template(8080, 9090)
	d.Spec.Template.Labels = map[string]string{"app": name}
	return d
}

const h2c = "kubernetes.io/h2c"

// A Service says that a function's pods speak HTTP/2, unless an annotation says what they do.
func TestProtocolIsThatOfServices(t *testing.T) {
	for _, c := range []struct {
		name     string
		function map[string]string
		services []*corev1.Service
		want     string
	}{
		{"no Service", isFunction(), nil, ""},
		{"by number", isFunction(), []*corev1.Service{service("s", "f", h2c, intstr.FromInt32(8080))}, "h2c"},
		{"by name", isFunction(), []*corev1.Service{service("s", "f", h2c, intstr.FromString("port-0"))}, "h2c"},
		{"the other port", isFunction(), []*corev1.Service{service("s", "f", h2c, intstr.FromString("port-1"))}, ""},
		{"the chosen port by name", isFunction("sluice/Port", "9090"), []*corev1.Service{service("s", "f", h2c, intstr.FromString("port-1"))}, "h2c"},
		{"the chosen port by number", isFunction("sluice/Port", "port-1"), []*corev1.Service{service("s", "f", h2c, intstr.FromInt32(9090))}, "h2c"},
		{"a port that is not declared", isFunction("sluice/Port", "7000"), []*corev1.Service{service("s", "f", h2c, intstr.FromInt32(7000))}, "h2c"},
		{"another protocol", isFunction(), []*corev1.Service{service("s", "f", "http", intstr.FromInt32(8080))}, ""},
		{"no protocol", isFunction(), []*corev1.Service{service("s", "f", "", intstr.FromInt32(8080))}, ""},
		{"one of two", isFunction(), []*corev1.Service{service("s", "f", "", intstr.FromInt32(8080)), service("t", "f", h2c, intstr.FromInt32(8080))}, "h2c"},
		{"for other pods", isFunction(), []*corev1.Service{service("s", "g", h2c, intstr.FromInt32(8080))}, ""},
		{"by annotation", isFunction("sluice/Protocol", "h2c"), nil, "h2c"},
		{"by annotation against a Service", isFunction("sluice/Protocol", "http"), []*corev1.Service{service("s", "f", h2c, intstr.FromInt32(8080))}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newViewed()
			for _, s := range c.services {
				v.put(s)
			}
			v.put(labelled("f", c.function), replicaSet("f-1", "rs-1", "d-f"), onePod("f-1-a", "ReplicaSet", "rs-1", "10.0.0.1"))
			w := v.at(t, "f", 5)
			if got := w.Function.Protocol; got != c.want || w.ReadyEndpoints()[0].Protocol != c.want {
				t.Errorf("it is %q, of an endpoint %+v; want %q", got, w.ReadyEndpoints()[0], c.want)
			}
		})
	}
}

// A Service that changes marks the functions whose pods it has or had, and no others.
func TestServicesMarkTheirFunctions(t *testing.T) {
	v := newViewed()
	v.put(labelled("f", isFunction()), labelled("g", isFunction()), labelled("i", nil))
	v.takeStale()
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"one that says nothing", func() { v.put(service("s", "f", "", intstr.FromInt32(8080))) }, ""},
		{"it says it", func() { v.put(service("s", "f", h2c, intstr.FromInt32(8080))) }, "f"},
		{"once more", func() { v.put(service("s", "f", h2c, intstr.FromInt32(8080))) }, ""},
		{"another port", func() { v.put(service("s", "f", h2c, intstr.FromInt32(9090))) }, "f"},
		{"other pods", func() { v.put(service("s", "g", h2c, intstr.FromInt32(9090))) }, "f g"},
		{"the pods of nobody", func() { v.put(service("s", "i", h2c, intstr.FromInt32(9090))) }, "g"},
		{"back", func() { v.put(service("s", "f", h2c, intstr.FromInt32(9090))) }, "f"},
		{"gone", func() { v.drop(service("s", "f", h2c, intstr.FromInt32(9090))) }, "f"},
	} {
		step.do()
		if got := strings.Join(v.takeStale(), " "); got != step.want {
			t.Errorf("%s: %q is marked, want %q", step.name, got, step.want)
		}
	}
	if len(v.services) > 0 {
		t.Errorf("left: %v", v.services)
	}
}

func TestServicesOfTheClusterAreWatched(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.deploy("f", 1, nil)
	_, recorder, _ := n.watch()
	speaks := func(protocol string) func(function.Workload) bool {
		return func(w function.Workload) bool {
			ready := w.ReadyEndpoints()
			return len(ready) == 1 && w.Function.Protocol == protocol && ready[0].Protocol == protocol
		}
	}
	recorder.Wait(t, "f", patience, speaks(""))
	services := n.Admin.CoreV1().Services(n.Name)
	made := service("f", "f", h2c, intstr.FromString("port-0"))
	made.UID = ""
	if _, err := services.Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	recorder.Wait(t, "f", patience, speaks("h2c"))
	if err := services.Delete(t.Context(), "f", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	recorder.Wait(t, "f", patience, speaks(""))
}
