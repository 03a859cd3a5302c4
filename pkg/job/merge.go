package job

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// merger puts a request on top of a definition, within the definition's limits.
type merger struct {
	definition Definition
	asked      request
	template   template
	// container is the one that requests change.
	container tree
	ttl       *int32
	dependsOn []string
	warnings  []string
}

func newMerger(d Definition, asked request) (*merger, error) {
	t, err := parseTemplate(d.Template)
	if err == nil && (d.Container < 0 || d.Container >= len(t.containers)) {
		err = errors.New("it has no container of that index")
	}
	if err != nil {
		return nil, refuse(ReasonInvalidRequest, "definition", "%s cannot be run as it is: %v", d.Name, err)
	}
	return &merger{definition: d, asked: asked, template: t, container: t.containers[d.Container], dependsOn: d.DependsOn}, nil
}

func (m *merger) all() error {
	steps := []func() error{
		m.allowed, m.image, m.arguments, m.environment, m.resources, m.dependencies, m.backoff, m.timeToLive, m.deadline, m.restart, m.labels,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// allowed refuses what the definition does not let requests change. The definition's own image may always be asked for.
func (m *merger) allowed() error {
	allow := m.definition.Overrides.Allow
	if allow == nil {
		allow = DefaultAllow()
	}
	for _, field := range m.asked.asks() {
		if slices.Contains(allow, field) {
			continue
		}
		if field == fieldEnvFrom {
			i := slices.IndexFunc(m.asked.env, variable.elsewhere)
			return refuse(ReasonEnvNotAllowed, fieldEnv, "%s is read from elsewhere, which needs %s in the definition's overrides.allow: a plain value is right",
				quote(m.asked.env[i].name), fieldEnvFrom)
		}
		return refuse(ReasonNotAllowed, field, "requests of %s cannot change it: they can change %s", m.definition.Name, cmp.Or(strings.Join(allow, ", "), "nothing"))
	}
	if m.asked.image != "" && m.asked.image != text(m.container, "image") && !slices.Contains(allow, fieldImage) {
		return refuse(ReasonNotAllowed, fieldImage, "%s is not the definition's own, and requests of %s cannot change it: leave it out", quote(m.asked.image), m.definition.Name)
	}
	return nil
}

// arguments are lists of words that no shell ever sees.
func (m *merger) arguments() error {
	size := 0
	for _, argument := range slices.Concat(m.asked.args, m.asked.command) {
		size += len(argument)
	}
	if size > maxArguments {
		return refuse(ReasonTooLarge, fieldArgs, "%d bytes with the command are too many: at most %d are right", size, maxArguments)
	}
	if m.asked.args != nil {
		set(m.container, fieldArgs, m.asked.args, len(m.asked.args) == 0)
	}
	if m.asked.command != nil {
		set(m.container, fieldCommand, m.asked.command, len(m.asked.command) == 0)
	}
	return nil
}

// dependencies of a request stand in place of the definition's.
func (m *merger) dependencies() error {
	if m.asked.dependsOn == nil {
		return nil
	}
	m.dependsOn = nil
	for _, name := range m.asked.dependsOn {
		name = strings.TrimSpace(name)
		if err := checkDependency(name); err != nil {
			return refuse(ReasonInvalidDependency, fieldDependsOn, "%s %v", quote(name), err)
		}
		if !slices.Contains(m.dependsOn, name) {
			m.dependsOn = append(m.dependsOn, name)
		}
	}
	return nil
}

// checkDependency checks a workload that a job waits for. The error goes on after it.
func checkDependency(name string) error {
	kind, rest, found := strings.Cut(name, "/")
	if !found {
		kind, rest = "Deployment", name
	}
	if kind != "Deployment" && kind != "StatefulSet" || !isLabel(rest) {
		return errors.New("is no workload that a job can wait for: the name of a Deployment or StatefulSet is right, as in mysql or StatefulSet/mysql")
	}
	return nil
}

func (m *merger) backoff() error {
	return m.bounded(fieldBackoffLimit, m.asked.backoffLimit, m.definition.Overrides.MaxBackoffLimit)
}

func (m *merger) timeToLive() error {
	if err := m.bounded(fieldTTL, m.asked.ttl, m.definition.Overrides.MaxTTL); err != nil {
		return err
	}
	if seconds, ok := number(m.template.job, fieldTTL); ok && seconds >= 0 && seconds <= math.MaxInt32 {
		ttl := int32(seconds)
		m.ttl = &ttl
	}
	return nil
}

// deadline of the definition is one that a request can shorten alone.
func (m *merger) deadline() error {
	most, ok := number(m.template.job, fieldLife)
	if !ok {
		most = math.MaxInt32
	}
	return m.bounded(fieldLife, m.asked.life, int(most))
}

// bounded sets a number of the Job that a request asks for, which may be at most most, or as the definition has it.
func (m *merger) bounded(field string, asked *int, most int) error {
	if asked == nil {
		return nil
	}
	if own, ok := number(m.template.job, field); ok {
		most = max(most, int(own))
	}
	if *asked > most {
		if m.definition.Overrides.OnExceed != Clamp {
			return refuse(ReasonNotAllowed, field, "%d is above the limit of the definition: at most %d is right", *asked, most)
		}
		m.warn("%s: %d is above the limit of the definition, %d, which holds", field, *asked, most)
		*asked = most
	}
	m.template.job[field] = json.Number(strconv.Itoa(*asked))
	return nil
}

// restart is refused where Kubernetes refuses it (k8s.io/kubernetes, pkg/apis/batch/validation).
func (m *merger) restart() error {
	if m.asked.restartPolicy == "" {
		return nil
	}
	for _, with := range []string{"podFailurePolicy", "backoffLimitPerIndex"} {
		if m.asked.restartPolicy == "OnFailure" && m.template.job[with] != nil {
			return refuse(ReasonNotAllowed, fieldRestartPolicy, `"OnFailure" does not go with the definition's %s: "Never" is right`, with)
		}
	}
	m.template.pod[fieldRestartPolicy] = m.asked.restartPolicy
	return nil
}

// labels go on the Job and on its pods.
func (m *merger) labels() error {
	if len(m.asked.labels) == 0 {
		return nil
	}
	pod, err := child(m.template.job, "template")
	if err != nil {
		return refuse(ReasonInvalidRequest, "definition", "%s cannot be run as it is: %v", m.definition.Name, err)
	}
	for _, name := range slices.Sorted(maps.Keys(m.asked.labels)) {
		if err := m.label(name, m.template.whole, pod); err != nil {
			return err
		}
	}
	return nil
}

// label refuses to change what the definition, Kubernetes or we have set: services and policies select pods by their labels.
func (m *merger) label(name string, objects ...tree) error {
	if matchesAny([]string{"sluice/*", "kubernetes.io/*", "*.kubernetes.io/*", "k8s.io/*", "*.k8s.io/*", "*.x-k8s.io/*", "job-name", "controller-uid"}, name) {
		return refuse(ReasonNotAllowed, fieldLabels, "%s is reserved: a label of your own is right", quote(name))
	}
	for _, object := range objects {
		metadata, err := child(object, "metadata")
		if err != nil {
			return refuse(ReasonInvalidRequest, "definition", "%s cannot be run as it is: %v", m.definition.Name, err)
		}
		labels := textsOf(metadata, fieldLabels)
		if value, own := labels[name]; own && value != m.asked.labels[name] {
			return refuse(ReasonNotAllowed, fieldLabels, "%s is %s in the definition: leave it out", quote(name), quote(value))
		}
		labels[name] = m.asked.labels[name]
		metadata[fieldLabels], object["metadata"] = labels, metadata
	}
	return nil
}

func (m *merger) warn(format string, args ...any) {
	m.warnings = append(m.warnings, fmt.Sprintf(format, args...))
}
