package local

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sluicefaas/sluice/pkg/function"
)

// longestGracePeriod bounds terminationGracePeriodSeconds.
const longestGracePeriod = 24 * time.Hour

// workload reads one Deployment or StatefulSet and keeps it if it is a function.
func (f *manifestFile) workload(root *yamlValue, kind string) {
	decoded, ok := f.decode(root, kind)
	if !ok {
		return
	}
	m := &manifest{manifestFile: f, root: root, spec: decoded, pod: []string{"spec", "template"}}
	w := Workload{Dir: f.folder, Replicas: 1, Source: fmt.Sprintf("%s:%d", f.path, root.line)}
	if !m.readFunction(kind, &w) || !m.isFirst(w) || !m.readReplicas(&w) || !m.readAddress(&w) {
		return
	}
	if w.URL == "" && !m.readCommand(&w) {
		return
	}
	m.readPort(&w)
	m.readProbe(&w)
	m.readGracePeriod(&w)
	f.take(w)
	m.awaitService(w.Port)
}

// readDependency reads a workload that is no function, and that a function depends on.
func (m *manifest) readDependency(w *Workload) bool {
	w.Watched = true
	if !m.isFirst(*w) || !m.readReplicas(w) || !m.readAddress(w) {
		return false
	}
	if w.URL == "" && !m.readCommand(w) {
		return false
	}
	m.readProbe(w)
	m.readGracePeriod(w)
	return true
}

func (m *manifest) passOver(kind string) {
	m.notice(LevelInfo, m.root.line, "", kind+"/"+m.spec.name+` is passed over: it has no annotation sluice/Function: "true"`)
}

// awaitService lets the Services say what is spoken on the port of the function read last, unless an annotation does.
func (m *manifest) awaitService(number int) {
	if _, _, found := m.lookup("Protocol"); found || number == 0 {
		return
	}
	s := speaker{index: len(m.workloads) - 1, labels: m.spec.template.Labels, port: function.Port{Number: number}}
	for _, port := range m.declaredPorts() {
		if port.Number == number {
			s.port = port
		}
	}
	m.speakers = append(m.speakers, s)
}

// manifest is one document on its way to a Workload or a Job. Its read methods are false if the document is refused.
type manifest struct {
	*manifestFile
	root *yamlValue
	spec manifestSpec
	// pod is where the pod template is, and played which of its containers a process plays.
	pod    []string
	played int
}

// at reports something about a field by its path.
func (m *manifest) at(level, text string, keys ...string) {
	line, path := m.root.lineOf(keys...), ""
	if found := m.root.child(keys...); found != nil {
		path = found.path()
	}
	m.notice(level, line, path, text)
}

// annotated reports something about an annotation.
func (m *manifest) annotated(level, key, text string) {
	m.notice(level, m.annotationLine(key), key, text)
}

// annotationLine finds the annotation as function.Lookup does: the workload's own goes before the template's.
func (m *manifest) annotationLine(key string) int {
	if own := m.root.child("metadata", "annotations", key); own != nil {
		return own.line
	}
	return m.root.lineOf(append(m.pod, "metadata", "annotations", key)...)
}

func (m *manifest) lookup(key string) (written, text string, found bool) {
	return function.Lookup(key, m.spec.annotations, m.spec.template.Annotations)
}

// container is the one that is played by a process, nil if there is none.
func (m *manifest) container() *corev1.Container {
	if m.played >= len(m.spec.template.Spec.Containers) {
		return nil
	}
	return &m.spec.template.Spec.Containers[m.played]
}

// containerValue is where the container's field is written, nil if it is not.
func (m *manifest) containerValue(keys ...string) *yamlValue {
	containers := m.root.child(append(m.pod, "spec", "containers")...)
	if containers == nil || m.played >= len(containers.children) {
		return nil
	}
	return containers.children[m.played].child(keys...)
}

// warnInContainer warns of a field of the container.
func (m *manifest) warnInContainer(text string, keys ...string) {
	if found := m.containerValue(keys...); found != nil {
		m.notice(LevelWarn, found.line, found.path(), text)
		return
	}
	m.at(LevelWarn, text, append(m.pod, "spec", "containers")...)
}

func (m *manifest) readFunction(kind string, w *Workload) bool {
	if m.spec.name == "" {
		m.at(LevelError, "metadata.name is missing", "metadata")
		return false
	}
	annotations := function.Annotations{Workload: m.spec.annotations, Template: m.spec.template.Annotations}
	f, isFunction, problems := function.FromAnnotations(m.spec.name, kind, annotations, m.lastFunction())
	for _, problem := range problems {
		m.problem(w, problem, isFunction)
	}
	switchKey, _, _ := m.lookup(function.KeyFunction)
	w.Function = f
	if !isFunction && (len(problems) == 0 || problems[0].Key != switchKey) {
		w.Function = function.Function{Name: m.spec.name, Kind: kind}
		m.others = append(m.others, other{manifest: m, workload: *w, at: len(m.notices)})
	}
	return isFunction
}

// lastFunction is the function of that name as it was read the last time, nil if there was none.
func (m *manifest) lastFunction() *function.Function {
	last, found := m.last.workloads[m.spec.name]
	if !found || last.Watched {
		return nil
	}
	return &last.Function
}

// problem reports what is wrong with an annotation. It is an error where it keeps the workload from being a function.
func (m *manifest) problem(w *Workload, problem function.Problem, isFunction bool) {
	level := LevelWarn
	if _, _, switched := m.lookup(function.KeyFunction); switched && !isFunction {
		level = LevelError
	}
	m.notice(level, m.annotationLine(problem.Key), "", problem.String())
	w.Problems = append(w.Problems, problem.String())
}

func (m *manifest) isFirst(w Workload) bool {
	first, twice := m.places[w.Function.Name]
	if twice {
		m.at(LevelError, fmt.Sprintf("the function %s is there twice: at %s and at %s; rename one", w.Function.Name, first, w.Source), "metadata", "name")
	}
	return !twice
}

func (m *manifest) readReplicas(w *Workload) bool {
	if m.spec.replicas == nil {
		return true
	}
	w.Replicas = int(*m.spec.replicas)
	if w.Replicas < 0 || w.Replicas > function.MaxReplicas {
		m.at(LevelError, fmt.Sprintf("%d must be a whole number from 0 to %d", w.Replicas, function.MaxReplicas), "spec", "replicas")
		return false
	}
	return true
}

// readPort takes sluice/Port, a number or a port's name, else the first containerPort of the pod.
func (m *manifest) readPort(w *Workload) {
	number, problem := function.PortFromAnnotations(m.spec.annotations, m.spec.template.Annotations).Among(m.declaredPorts())
	if problem != nil {
		m.problem(w, *problem, true)
	}
	w.Port = number
}

func (m *manifest) declaredPorts() (declared []function.Port) {
	for _, container := range m.spec.template.Spec.Containers {
		for _, port := range container.Ports {
			declared = append(declared, function.Port{Name: port.Name, Number: int(port.ContainerPort)})
		}
	}
	return declared
}

func (m *manifest) readGracePeriod(w *Workload) {
	w.GracePeriod = defaultGracePeriod
	seconds := m.spec.template.Spec.TerminationGracePeriodSeconds
	switch {
	case seconds == nil:
	case *seconds < 0 || *seconds > int64(longestGracePeriod/time.Second):
		m.at(LevelWarn, fmt.Sprintf("%d is not a whole number from 0 to %d; the default 30 holds", *seconds, int(longestGracePeriod/time.Second)),
			"spec", "template", "spec", "terminationGracePeriodSeconds")
	default:
		w.GracePeriod = time.Duration(*seconds) * time.Second
	}
}
