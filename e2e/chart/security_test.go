package chart

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// withToken are the components whose pods speak to the API server.
var withToken = []string{"scaler", "jobrunner", "credentials"}

// Row 6 of the list of others' bugs, and what Kubernetes calls a restricted pod: every pod of every example obeys.
func TestEveryPodObeysTheRules(t *testing.T) {
	forEachExample(t, func(t *testing.T, name string, objects []object) {
		for _, w := range workloads(t, objects) {
			rules := podRules{
				token: slices.Contains(withToken, w.component()),
				// The example has security.runAsUser: null, for a cluster that chooses the user.
				anyUser: name == "everything",
			}
			for _, breach := range rules.breaches(w.template.Spec) {
				t.Errorf("%s: %s", w, breach)
			}
		}
	})
}

// podRules are those that a pod obeys.
type podRules struct {
	token, anyUser bool
}

// breaches returns a sentence for each rule that the pod breaks.
func (r podRules) breaches(pod corev1.PodSpec) []string {
	var found []string
	require := func(ok bool, format string, values ...any) {
		if !ok {
			found = append(found, fmt.Sprintf(format, values...))
		}
	}
	require(pod.AutomountServiceAccountToken != nil && *pod.AutomountServiceAccountToken == r.token, "automountServiceAccountToken is not %v", r.token)
	require(pod.ServiceAccountName != "" && pod.ServiceAccountName != "default", "serviceAccountName is %q", pod.ServiceAccountName)
	require(pod.EnableServiceLinks != nil && !*pod.EnableServiceLinks, "enableServiceLinks is not false")
	require(!pod.HostNetwork && !pod.HostPID && !pod.HostIPC, "it shares something with its host")
	security := ptr.Deref(pod.SecurityContext, corev1.PodSecurityContext{})
	require(ptr.Deref(security.RunAsNonRoot, false), "runAsNonRoot is not true")
	require(r.anyUser || ptr.Deref(security.RunAsUser, 0) > 0 && ptr.Deref(security.RunAsGroup, 0) > 0, "runAsUser or runAsGroup is no number above 0")
	require(security.SeccompProfile != nil && security.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "seccompProfile is not RuntimeDefault")
	for _, volume := range pod.Volumes {
		require(volume.ConfigMap != nil || volume.Secret != nil || volume.EmptyDir != nil, "volume %s is of a kind that nobody has thought about", volume.Name)
		require(volume.EmptyDir == nil || volume.EmptyDir.SizeLimit != nil, "volume %s has no sizeLimit", volume.Name)
	}
	require(len(pod.Containers) > 0, "it has no container")
	for _, container := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
		for _, breach := range containerBreaches(container) {
			require(false, "container %s: %s", container.Name, breach)
		}
	}
	return found
}

func containerBreaches(container corev1.Container) []string {
	var found []string
	require := func(ok bool, what string) {
		if !ok {
			found = append(found, what)
		}
	}
	security := ptr.Deref(container.SecurityContext, corev1.SecurityContext{})
	require(!ptr.Deref(security.AllowPrivilegeEscalation, true), "allowPrivilegeEscalation is not false")
	require(ptr.Deref(security.ReadOnlyRootFilesystem, false), "readOnlyRootFilesystem is not true")
	require(!ptr.Deref(security.Privileged, false), "it is privileged")
	capabilities := ptr.Deref(security.Capabilities, corev1.Capabilities{})
	require(slices.Equal(capabilities.Drop, []corev1.Capability{"ALL"}) && len(capabilities.Add) == 0, "capabilities are not drop: [ALL] alone")
	require(security.RunAsUser == nil && security.RunAsNonRoot == nil && security.SeccompProfile == nil, "it changes what holds for the pod")
	require(!container.Resources.Requests.Memory().IsZero() && !container.Resources.Requests.Cpu().IsZero(), "it asks for no memory or no processor")
	require(!container.Resources.Limits.Memory().IsZero(), "its memory has no limit")
	for _, port := range container.Ports {
		require(port.HostPort == 0, "it takes a port of its host")
	}
	_, tag, _ := strings.Cut(container.Image[strings.LastIndex(container.Image, "/")+1:], ":")
	require(tag != "" && tag != "latest", "its image has no version: "+container.Image)
	return found
}

// The rules find each breach by itself.
func TestRulesFindBreaches(t *testing.T) {
	sound := workloads(t, render(t))[0].template.Spec
	if found := (podRules{}).breaches(sound); len(found) > 0 {
		t.Fatal(found)
	}
	tests := map[string]func(pod *corev1.PodSpec){
		"automountServiceAccountToken": func(p *corev1.PodSpec) { p.AutomountServiceAccountToken = nil },
		"serviceAccountName":           func(p *corev1.PodSpec) { p.ServiceAccountName = "default" },
		"enableServiceLinks":           func(p *corev1.PodSpec) { p.EnableServiceLinks = nil },
		"shares something":             func(p *corev1.PodSpec) { p.HostPID = true },
		"runAsNonRoot":                 func(p *corev1.PodSpec) { p.SecurityContext.RunAsNonRoot = nil },
		"runAsUser":                    func(p *corev1.PodSpec) { p.SecurityContext.RunAsUser = ptr.To[int64](0) },
		"seccompProfile":               func(p *corev1.PodSpec) { p.SecurityContext.SeccompProfile = nil },
		"volume host": func(p *corev1.PodSpec) {
			p.Volumes = append(p.Volumes, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
		},
		"no container":             func(p *corev1.PodSpec) { p.Containers = nil },
		"allowPrivilegeEscalation": func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil },
		"readOnlyRootFilesystem":   func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.ReadOnlyRootFilesystem = ptr.To(false) },
		"privileged":               func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.Privileged = ptr.To(true) },
		"capabilities": func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"NET_RAW"}
		},
		"changes what holds": func(p *corev1.PodSpec) { p.Containers[0].SecurityContext.RunAsUser = ptr.To[int64](0) },
		"asks for no memory": func(p *corev1.PodSpec) { delete(p.Containers[0].Resources.Requests, corev1.ResourceMemory) },
		"no limit":           func(p *corev1.PodSpec) { p.Containers[0].Resources.Limits = nil },
		"port of its host":   func(p *corev1.PodSpec) { p.Containers[0].Ports[0].HostPort = 80 },
		"no version":         func(p *corev1.PodSpec) { p.Containers[0].Image = "localhost:5000/gateway" },
	}
	for want, change := range tests {
		pod := sound.DeepCopy()
		change(pod)
		if found := (podRules{}).breaches(*pod); len(found) != 1 || !strings.Contains(found[0], want) {
			t.Errorf("want one breach with %q, have %q", want, found)
		}
	}
}

// A service sees its own password and no other; NATS, which checks them, sees all.
func TestEachPodSeesItsOwnPasswordAlone(t *testing.T) {
	for _, example := range []string{"default", "external", "external-credentials"} {
		objects := render(t, "--values", examples(t)[example])
		for _, service := range services {
			pod := podOf(t, objects, service)
			secrets := secretVolumes(pod, "nats-login")
			if len(secrets) != 1 || len(secrets[0].Items) != 1 || secrets[0].Items[0].Key != service {
				t.Errorf("%s: %s mounts %+v", example, service, secrets)
			}
			if len(secrets) == 1 && ptr.Deref(secrets[0].DefaultMode, 0) != 0o444 {
				t.Errorf("%s: %s: mode %o", example, service, *secrets[0].DefaultMode)
			}
			for _, variable := range pod.Containers[0].Env {
				if variable.ValueFrom != nil {
					t.Errorf("%s: %s has variable %s from elsewhere", example, service, variable.Name)
				}
			}
		}
	}
}

func secretVolumes(pod corev1.PodSpec, name string) []*corev1.SecretVolumeSource {
	var found []*corev1.SecretVolumeSource
	for _, volume := range pod.Volumes {
		if volume.Secret != nil && volume.Name == name {
			found = append(found, volume.Secret)
		}
	}
	return found
}

// podOf returns the pod of a component.
func podOf(t *testing.T, objects []object, component string) corev1.PodSpec {
	t.Helper()
	for _, w := range workloads(t, objects) {
		if w.component() == component {
			return w.template.Spec
		}
	}
	t.Fatalf("%s has no pods", component)
	return corev1.PodSpec{}
}
