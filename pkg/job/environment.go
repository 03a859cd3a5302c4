package job

import (
	"slices"
	"strings"
)

// reservedEnv is what is always ours.
const reservedEnv = "JOB_*"

// environment merges by name; the request's wins. A variable stays where it was, because others may refer to it with $(NAME).
func (m *merger) environment() error {
	if err := m.checkEnvironment(); err != nil {
		return err
	}
	env, err := children(m.container, "env")
	if err != nil {
		return refuse(ReasonInvalidRequest, "definition", "%s cannot be run as it is: its env is no list", m.definition.Name)
	}
	from, err := children(m.container, fieldEnvFrom)
	if err != nil {
		return refuse(ReasonInvalidRequest, "definition", "%s cannot be run as it is: its envFrom is no list", m.definition.Name)
	}
	for _, v := range m.asked.env {
		if v.source != nil { // the last source counts for Kubernetes, so the definition's own come last
			from = slices.Insert(from, 0, v.source)
			continue
		}
		env = withVariable(env, v.entry())
	}
	set(m.container, fieldEnv, env, len(env) == 0)
	set(m.container, fieldEnvFrom, from, len(from) == 0)
	return nil
}

// withVariable puts a variable in the place of the last one with its name: that is the one that counts for Kubernetes.
func withVariable(env []tree, entry tree) []tree {
	kept := slices.Clone(env)
	for i := len(kept) - 1; i >= 0; i-- {
		if kept[i]["name"] == entry["name"] {
			kept[i] = entry
			return kept
		}
	}
	return append(kept, entry)
}

func (m *merger) checkEnvironment() error {
	size, seen := 0, map[string]bool{}
	for _, v := range m.asked.env {
		name := v.name
		if v.source != nil {
			name += "*"
		}
		if pattern := m.reserves(v); pattern != "" {
			return refuse(ReasonEnvNotAllowed, fieldEnv, "%s is reserved: names that do not fit %s are right", quote(name), pattern)
		}
		if seen[name] && v.source == nil {
			return refuse(ReasonInvalidRequest, fieldEnv, "%s is there twice: a variable has one value", quote(name))
		}
		seen[name] = true
		size += len(name) + len(v.value)
	}
	if size > maxArguments {
		return refuse(ReasonTooLarge, fieldEnv, "%d bytes are too many: at most %d are right", size, maxArguments)
	}
	return nil
}

// reserves is the pattern that keeps a request from setting a variable. What comes from a whole Secret or ConfigMap has names that nobody knows: its prefix must not
// be one with which a reserved name could begin. (Ours stand above it in any case.)
func (m *merger) reserves(v variable) string {
	for _, pattern := range m.definition.Overrides.ReservedEnv {
		literal, _, _ := strings.Cut(pattern, "*")
		if v.source != nil && (strings.HasPrefix(literal, v.name) || strings.HasPrefix(v.name, literal)) {
			return pattern
		}
	}
	for _, pattern := range append([]string{reservedEnv}, m.definition.Overrides.ReservedEnv...) {
		if v.source == nil && matches(pattern, v.name) {
			return pattern
		}
	}
	return ""
}
