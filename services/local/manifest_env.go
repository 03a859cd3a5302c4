package local

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// maxReferenced bounds the bytes that references put in all together, because each may double what the last one made.
const maxReferenced = 1 << 20

// containerEnv is the env of a container as far as it can be known here.
type containerEnv struct {
	entries []string
	values  map[string]string
	// referenced counts towards maxReferenced.
	referenced int
}

func (e *containerEnv) add(name, value string) {
	e.values[name] = value
	e.entries = append(e.entries, name+"="+value)
}

// The ends of sentences about what no process can be given.
var (
	errReferences = errors.New("$(…) references in its env, command and args that make more than 1 MiB: make them shorter")
	errZeroByte   = errors.New("a zero byte in its command or its env: remove it")
)

// fits refuses what no process can be given.
func (e *containerEnv) fits(command []string) error {
	if e.referenced > maxReferenced {
		return errReferences
	}
	for _, text := range slices.Concat(command, e.entries) {
		if strings.ContainsRune(text, 0) {
			return errZeroByte
		}
	}
	return nil
}

// lookup finds a variable of the container or, as what is left to it, of the parent.
func (e *containerEnv) lookup(name string) (string, bool) {
	value, found := e.values[name]
	if !found {
		value, found = os.LookupEnv(name)
	}
	e.referenced += len(value)
	if e.referenced > maxReferenced {
		return "", true
	}
	return value, found
}

// commandLookup stands in for the PORT of the cluster with that of the process, known only when it is started.
func (e *containerEnv) commandLookup(name string) (string, bool) {
	if name == "PORT" {
		return "{port}", true
	}
	return e.lookup(name)
}

// readEnv takes the env of the first container, in its order, since a value may refer to those before it. What only
// a cluster can resolve is named and left to the parent's environment.
func (m *manifest) readEnv() *containerEnv {
	e := &containerEnv{values: map[string]string{}}
	container := m.container()
	if container == nil {
		return e
	}
	for i, variable := range container.Env {
		switch {
		case variable.ValueFrom != nil:
			m.item(i, fmt.Sprintf("%s has a valueFrom, which only a cluster can resolve: it is taken from the environment of sluice, if it is there", shorten(variable.Name)), "env")
		case variable.Name == "" || strings.Contains(variable.Name, "="):
			m.item(i, fmt.Sprintf("%q is no name for a variable; it is passed over", shorten(variable.Name)), "env")
		default:
			e.add(variable.Name, expandReferences(variable.Value, e.lookup))
		}
	}
	for i := range container.EnvFrom {
		m.item(i, "envFrom can only be resolved by a cluster: its variables are taken from the environment of sluice, if they are there", "envFrom")
	}
	return e
}

// item warns of one item of a list of the container.
func (m *manifest) item(i int, text, key string) {
	list := m.containerValue(key)
	if list == nil || i >= len(list.children) {
		m.warnInContainer(text, key)
		return
	}
	m.notice(LevelWarn, list.children[i].line, list.children[i].path(), text)
}

// expandReferences replaces $(NAME) as Kubernetes does in command, args and env: $$ is a $, and what is unknown stays
// as it is (https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/).
func expandReferences(text string, lookup func(string) (string, bool)) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		name, rest, closed := strings.Cut(strings.TrimPrefix(after, "("), ")")
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteByte('$')
			text = after[1:]
		case strings.HasPrefix(after, "(") && closed:
			out.WriteString(reference(name, lookup))
			text = rest
		default:
			out.WriteByte('$')
			text = after
		}
	}
}

func reference(name string, lookup func(string) (string, bool)) string {
	if value, found := lookup(name); found {
		return value
	}
	return "$(" + name + ")"
}
