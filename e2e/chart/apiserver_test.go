package chart

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"
)

// The API server accepts every object of every example, under strict validation: no unknown field, none twice, no warning at all. And it admits
// the pods to a namespace for restricted ones.
func TestAPIServerAcceptsEveryObject(t *testing.T) {
	p := plane(t)
	for name, file := range examples(t) {
		t.Run(name, func(t *testing.T) {
			space := p.namespace(t, "strict")
			p.warnings.take()
			objects := render(t, "--values", file, "--namespace", space)
			p.createAll(t, objects, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
			p.createAll(t, objects, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
			for _, w := range workloads(t, objects) {
				p.admitPod(t, space, w)
			}
			for _, warning := range p.warnings.take() {
				t.Error("the API server warns:", warning)
			}
		})
	}
}

// createAll creates the objects as they were rendered.
func (p *controlPlane) createAll(t *testing.T, objects []object, options metav1.CreateOptions) {
	t.Helper()
	groups, err := restmapper.GetAPIGroupResources(p.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	for _, o := range objects {
		read := unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(o.raw, &read.Object); err != nil {
			t.Fatal(err)
		}
		kind := read.GroupVersionKind()
		mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			t.Fatal(err)
		}
		if o.GetNamespace() == "" {
			t.Errorf("%s is of no namespace", o)
		}
		if _, err := p.dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace()).Create(t.Context(), &read, options); err != nil {
			t.Errorf("%s: %v", o, err)
		}
	}
}

// admitPod asks whether a pod of the workload would be let in.
func (p *controlPlane) admitPod(t *testing.T, space string, w workload) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: w.template.ObjectMeta, Spec: w.template.Spec}
	pod.Name = "trial"
	const claim = "data" // the StatefulSet's own, which its controller puts in
	if !hasVolume(pod, claim) && mounts(pod, claim) {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: claim, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	_, err := p.CoreV1().Pods(space).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Errorf("a pod of %s: %v", w, err)
	}
}

func hasVolume(pod *corev1.Pod, name string) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.Name == name {
			return true
		}
	}
	return false
}

func mounts(pod *corev1.Pod, name string) bool {
	for _, mount := range pod.Spec.Containers[0].VolumeMounts {
		if mount.Name == name {
			return true
		}
	}
	return false
}

// What helm install prints: how to call, and a warning where the queue is worth less than by default.
func TestNotes(t *testing.T) {
	p := plane(t)
	space := p.namespace(t, "notes")
	for name, want := range map[string][]string{
		"default":              {"http://sluice-gateway." + space + "/function/<name>/<path>", "/async-function/", "port-forward", "localhost:5000/job/<name>", "--user client", "helm uninstall removes the queue"},
		"one-node":             {"WARNING: nats.replicas is 1 and nats.persistence.enabled is false"},
		"emptydir":             {"WARNING: nats.persistence.enabled is false", "my-nats-passwords"},
		"external":             {"NOTE: calls are queued in tls://nats-0.example.com:4222"},
		"external-credentials": {"NOTE: calls are queued in nats://connect.example.com"},
		"everything":           {"http://platform-gateway." + space + ":8080/function/"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := p.helm(t, "install", release, chartFolder(), "--namespace", space, "--dry-run=server", "--values", examples(t)[name])
			if err != nil {
				t.Fatal(err)
			}
			_, notes, _ := strings.Cut(out, "NOTES:")
			for _, text := range want {
				if !strings.Contains(notes, text) {
					t.Errorf("the notes do not say %q:\n%s", text, notes)
				}
			}
			if warns := strings.Contains(notes, "WARNING"); warns != strings.Contains(strings.Join(want, " "), "WARNING") {
				t.Errorf("a warning: %v", warns)
			}
		})
	}
}
